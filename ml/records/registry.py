"""What happened to the alias, and what a registry remembers."""

from typing import Annotated, Literal

from ml.records.change import Verdict
from ml.records.data import Source, UnknownSource
from ml.records.decision import Approval, ApprovalUnneeded
from ml.records.evaluation import ChampionFigures, ChampionUnmeasured, Gains, NoGains
from ml.records.model import Champion, ModelVersion
from ml.records.wire import BY_NAME, record


@record
class Rollback:
    """A person moved the alias back from `previous` to `target`; `reason` says why."""

    target: ModelVersion
    previous: ModelVersion
    reason: str
    triggered_by: str


@record
class Unregistered:
    """The candidate has no version, because a dry run registers nothing."""


@record
class Promotion:
    """What happened to the alias; `candidate` is the version that was judged, `previous` the champion before that."""

    promoted: bool
    verdict: Verdict
    candidate: Annotated[ModelVersion | Unregistered, BY_NAME]
    alias: str
    previous: Champion
    decision: str

    @property
    def version(self) -> str:
        """The candidate's version, or "unregistered" after a dry run."""
        return self.candidate.version if isinstance(self.candidate, ModelVersion) else "unregistered"


@record
class LineUnderway:
    """A line that is being added to a registry's history; `line` is its digest."""

    line: str


@record
class NoLineUnderway:
    """Nothing is being added to the history."""


@record
class Aliases:
    """The version that each alias of a registry points at, by alias, and what its history must read.

    The history has so many `entries`, and `history` is the sha256 of their lines. `underway` is at most one more line,
    which a crash may have kept back. `seal` is the sha256 of all the rest.
    """

    versions: dict[str, str]
    entries: int
    history: str
    underway: Annotated[LineUnderway | NoLineUnderway, BY_NAME]
    seal: str


@record
class HistoryEntry:
    """One decision that was carried out; `time` is UTC in ISO 8601, the figures are the candidate's on its test rows.

    `promoted` is true if the champion's alias was moved to `version`. `decision` is the digest of the entry's grounds
    (a Decision, Rollback or Change), `inputs` that of the run's inputs, `weights` that of the version's SavedModel.
    `settled` is false if only the time, something that was not measured, or no person's approval held the candidate
    back. `watch` has the champion's figures on the same test rows, `gains` the differences. `approval` has a person's
    answer, if one was asked.
    """

    time: str
    run_id: str
    promoted: bool
    verdict: Literal["promote", "inconclusive", "keep", "blocked", "unchanged", "rollback"]
    reason: str
    version: str
    previous: Champion
    decision: str
    precision: float
    recall: float
    f1: float
    average_precision: float
    triggered_by: str
    inputs: str
    weights: str
    settled: bool
    watch: Annotated[ChampionFigures | ChampionUnmeasured, BY_NAME]
    gains: Annotated[Gains | NoGains, BY_NAME]
    source: Source = UnknownSource()
    approval: Approval = ApprovalUnneeded()


@record
class RegistryState:
    """All that a registry in an object store remembers: the aliases, the versions, and the history, oldest first.

    `dropped` are the names of the versions whose files are gone.
    """

    aliases: dict[str, str]
    versions: tuple[ModelVersion, ...]
    dropped: tuple[str, ...]
    history: tuple[HistoryEntry, ...]
