"""How a run, its steps and a scoring went, for people."""

from typing import Literal

from ml.records.data import DataCheck, Severity
from ml.records.model import KnownProfile, ModelVersion, Profile
from ml.records.wire import record

# The ways to end that people are told of, with those that are only shown, or that are no end.
_End = Literal[
    "promoted", "kept", "inconclusive", "blocked", "unchanged", "rejected", "pending", "failed", "rolled_back", "drift"
]
Outcome = Literal[_End, "dry_run", "decided", "scored"]
Event = Literal[_End, "champion_under_floor", "approval_wanted", "late"]


@record
class Notice:
    """What people are told of an event: what happened, why, the figures, and what to do; a line of text each."""

    event: Event
    what: str
    why: str
    figures: str
    to_do: str


@record
class ToldSettings:
    """What a run was told: its preset, the settings that differ from it by name, in the form that others may see."""

    preset: str
    different: dict[str, str]
    triggered_by: str
    dry_run: bool
    force: bool


@record
class Curves:
    """Precision at each of the recalls, by role: the highest threshold with at least this recall. All in [0, 1]."""

    recall: tuple[float, ...]
    precision: dict[str, tuple[float, ...]]


@record
class TrackedRun:
    """The address of a step's run in Weights & Biases."""

    step: str
    url: str


@record
class StepTimes:
    """When a step began and when it came to its end, in seconds since 1970."""

    step: str
    began: float
    ended: float


@record
class StepCosts:
    """The bytes that a step's process wrote, and the most memory that it ever held; both without its children."""

    step: str
    written_bytes: int
    peak_memory_bytes: int


@record
class RunOutcome:
    """How a run ended, or how far it came: in one word, and why. `lines` say the rest, such as what to do.

    `decided` is a run whose decision is not carried out yet. `step` is the step that said so.
    """

    outcome: Outcome
    step: str
    reason: str
    lines: tuple[str, ...]


@record
class Scoring:
    """A file that the champion has scored, and what the watch over it found.

    `source` and `output` are addresses without credentials and local folders, `questions` and `scored` the sha256 of
    both files' bytes. `now` is the profile of these rows in the bins of `then`, the champion's validation rows.
    `checks` are the expectations of the suite with the digest `suite`; none where `then` is unknown.
    """

    champion: ModelVersion
    source: str
    questions: str
    output: str
    scored: str
    format: Literal["CSV", "Parquet"]
    threshold: float
    now: Profile
    then: KnownProfile
    suite: str
    worst_severity: Severity
    checks: tuple[DataCheck, ...]

    @property
    def drift(self) -> tuple[DataCheck, ...]:
        """Return the expectations that failed and are more than an information."""
        return tuple(check for check in self.checks if not check.passed and check.severity != "info")
