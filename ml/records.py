"""The records that one step hands to the next: frozen, small, plain JSON. Each names its parents by their sha256.

A record never contains rows, arrays, user text or paths of this machine. Each thing that can be absent has its own type
for its absence, such as NoChampion.
"""

import hashlib
import json
from collections.abc import Collection
from typing import Annotated, Any, Literal, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict, Discriminator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ml.errors import LineageError

SCHEMA = 1
_LONGEST_REASON = 200
# What a model in bfloat16 must reach: on so many rows it gives float32's label, so near is its average precision.
LEAST_LABELS_AGREEING = 0.999
LARGEST_AVERAGE_PRECISION_CHANGE = 0.002
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

Severity = Literal["none", "info", "warning", "critical"]
SplitName = Literal["train", "validation", "test"]
Verdict = Literal["promote", "inconclusive", "keep", "blocked"]
# The ways to end that people are told of, with those that are only shown, or that are no end.
_End = Literal[
    "promoted", "kept", "inconclusive", "blocked", "unchanged", "rejected", "pending", "failed", "rolled_back", "drift"
]
Outcome = Literal[_End, "dry_run", "decided", "scored"]
Event = Literal[_End, "champion_under_floor", "approval_wanted", "late"]

BY_NAME = Discriminator("record")

R = TypeVar("R")

_RECORDS: dict[str, type] = {}


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[R]) -> type[R]:
    """Make a class a frozen dataclass with strictly checked fields; its JSON names the class in the field `record`."""
    cls.__annotations__ = {"record": Literal[cls.__name__], **cls.__annotations__}
    cls.record = cls.__name__  # type: ignore[attr-defined]
    made = cast(type[R], dataclass(cls, frozen=True, kw_only=True, config=_STRICT))
    _RECORDS[cls.__name__] = made
    return made


@record
class SourceName:
    """What the source of the rows is called in the settings."""

    name: str


@record
class UnknownSource:
    """The record does not say which source the rows come from: it was written before sources had names."""


Source = Annotated[SourceName | UnknownSource, BY_NAME]


@record
class RawSnapshot:
    """One CSV as it was pulled; `sha256` is that of its bytes, `source` contains no credentials and no local folder.

    `erased_rows` were left out because a person had them erased; then `sha256` is that of the bytes and of which rows
    these were, and the JSON of other snapshots leaves the field out.
    """

    source: str
    sha256: str
    rows: int
    columns: tuple[str, ...]
    bytes: int
    quarantined_rows: int
    erased_rows: int = Field(default=0, exclude_if=lambda rows: rows == 0)


@record
class Erasure:
    """What a person has had erased, at `time` (UTC): `ids` are hashes of the rows' ids under `salt`, in hex."""

    time: str
    salt: str
    ids: tuple[str, ...]


@record
class ErasedRows:
    """So many rows of a stored folder were erased, at these times (UTC)."""

    rows: int
    times: tuple[str, ...]


@record
class NothingErased:
    """No row of the stored folder was erased."""


@record
class DataCheck:
    """One expectation and what was observed; `column` is "table" if the expectation is about the whole file."""

    name: str
    column: str
    severity: Severity
    passed: bool
    observed: str


@record
class ChampionSnapshot:
    """The CSV that the champion comes from, by its sha256, is in this store: the snapshot was compared with it."""

    version: str
    snapshot: str


@record
class SnapshotElsewhere:
    """The CSV that the champion comes from is not in this store: what changed since is unknown."""

    version: str
    snapshot: str


@record
class NoChampion:
    """There is no champion. This is proven: the registry answered, and its alias points at no version."""


@record
class ValidationReport:
    """What Great Expectations found in a snapshot, and in the change since the champion's.

    `checks` has both; those on the change are there only where `since` is a ChampionSnapshot.
    """

    snapshot: str
    since: Annotated[ChampionSnapshot | SnapshotElsewhere | NoChampion, BY_NAME]
    suite: str
    suite_digest: str
    passed: bool
    worst_severity: Severity
    checks: tuple[DataCheck, ...]


@record
class Measured:
    """What an expectation measured, as a number."""

    value: float


@record
class NotMeasured:
    """The expectation compares no number, or could not be checked."""


@record
class ObservedCheck:
    """One expectation in one run, for people; `docs` is the folder of its Data Docs beside the run's reports.

    `note` says what a failure means.
    """

    docs: str
    check: DataCheck
    required: str
    note: str
    value: Annotated[Measured | NotMeasured, BY_NAME]


@record
class DataQuality:
    """What a step's expectations found in one run, passed or not; `snapshot` is the CSV's sha256, `time` UTC."""

    run_id: str
    time: str
    snapshot: str
    rows: int
    checks: tuple[ObservedCheck, ...]


@record
class Split:
    """One part of the data; `digest` is the digest of its stored rows."""

    name: SplitName
    digest: str
    rows: int
    positives: int


@record
class Splits:
    """The parts for training, for the choice of epoch and threshold, and for the test; no text is in two of them.

    Texts are compared after normalisation. `warnings` are the failed expectations about the file and the splits that
    are not critical. The digest leaves out `warnings` and `report`: equal splits have equal digests.
    """

    BESIDE = ("report", "warnings")

    snapshot: str
    report: str
    strategy: Literal["hash", "random"]
    seed: int
    labels: tuple[str, str]
    parts: tuple[Split, Split, Split]
    duplicate_texts: int
    conflicting_texts: int
    warnings: tuple[DataCheck, ...]

    def part(self, name: SplitName) -> Split:
        """Return the part with that name."""
        return next(part for part in self.parts if part.name == name)


@record
class ModelVersion:
    """A version in the registry; `model` is the digest of its files."""

    version: str
    model: str


Champion = Annotated[ModelVersion | NoChampion, BY_NAME]


@record
class PretrainedWeights:
    """Training began with the pretrained encoder's weights, not with a champion's."""


@record
class Float32Form:
    """The exported model multiplies in float32."""


@record
class Bfloat16Form:
    """The exported model multiplies in bfloat16. So near is it to its float32 form on the validation rows.

    `labels_agreeing` is the share of rows with the same label, at the model's threshold; `average_precision_change` is
    the average precision in bfloat16 minus that in float32.
    """

    rows: int
    labels_agreeing: float
    average_precision_change: float

    @property
    def labels_hold(self) -> bool:
        """Whether labels agree with float32's on enough rows."""
        return self.labels_agreeing >= LEAST_LABELS_AGREEING

    @property
    def average_precision_holds(self) -> bool:
        """Whether the average precision is near enough to float32's."""
        return abs(self.average_precision_change) <= LARGEST_AVERAGE_PRECISION_CHANGE


ServedForm = Annotated[Float32Form | Bfloat16Form, BY_NAME]


@record
class TrainedModel:
    """An exported classifier; `model` is the digest of its files, `threshold` its decision threshold in [0, 1].

    `weights` is the digest of its SavedModel alone, which knows neither threshold nor origin. `rebased` says that the
    threshold was chosen by F1 alone, whatever the champion's point. `started_from` is the champion whose weights
    training began with, or the pretrained encoder. `form` says in which number format it was exported; the JSON leaves
    out float32, so that records from before there was another keep their digests.
    """

    model: str
    weights: str
    splits: str
    config: str
    encoder: str
    threshold: float
    rebased: bool
    best_epoch: int
    examples_per_second: float
    train_seconds: float
    peak_memory_bytes: int
    started_from: Annotated[ModelVersion | PretrainedWeights, BY_NAME]
    form: ServedForm = Field(default=Float32Form(), exclude_if=lambda form: isinstance(form, Float32Form))


@record
class Joined:
    """That this machine, `worker` of the `machines` from 0 on, took part in a training that worker 0 led."""

    splits: str
    worker: int
    machines: int
    seconds: float


@record
class Evaluation:
    """One model's figures on one set of test rows, at the model's own threshold. All rates are in [0, 1].

    `weights` is the digest of its SavedModel. `best_f1` is the highest F1 of any threshold on these rows, and
    `best_threshold` where it is. `calibration_slope` is 1 where the scores are as sure as they are right, below where
    they are too sure, and 0 where they are all the same.
    """

    model: str
    weights: str
    test: str
    rows: int
    positives: int
    threshold: float
    precision: float
    recall: float
    f1: float
    best_f1: float
    best_threshold: float
    average_precision: float
    precision_at_recall_50: float
    roc_auc: float
    log_loss: float
    calibration_error: float
    calibration_slope: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


@record
class Contamination:
    """The number of test rows that the champion may have been trained on; both models were measured without them."""

    rows: int


@record
class UnknownContamination:
    """The contamination is unknown: the rows that the champion was trained on are not in this store."""


@record
class Rival:
    """The champion and its evaluation, made in this run on the candidate's test rows."""

    champion: ModelVersion
    evaluation: Evaluation
    contamination: Annotated[Contamination | UnknownContamination, BY_NAME]


@record
class Comparison:
    """Candidate, champion and baseline on the same test rows.

    The baseline is not a neural network; it is trained on the candidate's training rows (see ml/judge/baseline.py).
    `snapshot` is the sha256 of the CSV that the rows come from. `warnings` are the names of the failed expectations
    about the CSV or its splits.
    """

    snapshot: str
    trained: TrainedModel
    candidate: Evaluation
    baseline: Evaluation
    rival: Annotated[Rival | NoChampion, BY_NAME]
    warnings: tuple[str, ...]
    source: Source = UnknownSource()

    @property
    def champion(self) -> ModelVersion | NoChampion:
        """The champion that the candidate was compared with."""
        return self.rival.champion if isinstance(self.rival, Rival) else self.rival


@record
class ChampionFigures:
    """The champion's figures on the test rows of one run."""

    version: str
    rows: int
    precision: float
    recall: float
    average_precision: float


@record
class ChampionUnmeasured:
    """The run measured no champion: there was none, or nothing was evaluated."""


@record
class Interval:
    """The candidate's figure minus the champion's on the same rows, with its lower and its upper one-sided bound."""

    difference: float
    lower: float
    upper: float


@record
class Gains:
    """The candidate's gains over the champion; `confidence` is that of each one-sided bound."""

    confidence: float
    precision: Interval
    recall: Interval
    f1: Interval


@record
class NoGains:
    """The run compared no candidate with a champion."""


@record
class RuleCheck:
    """One line of the decision: what was observed, what was required, and whether it passed."""

    rule: str
    observed: str
    required: str
    passed: bool


@record
class NothingWithdrawn:
    """No rollback has withdrawn a version with the candidate's weights or inputs."""


@record
class Inputs:
    """What decides a candidate: the CSV, settings, expectation suites, encoder, libraries and code, as digests.

    And the champion, whose operating point and, in a warm start, whose weights it depends on.
    """

    snapshot: str
    config: str
    suites: str
    encoder: str
    libraries: str
    code: str
    champion: Champion


@record
class Judged:
    """A run of the same inputs that came to a verdict before: its `run_id`, and the version that it judged."""

    run_id: str
    verdict: Verdict
    reason: str
    version: str


@record
class NotJudged:
    """No run of these inputs has come to a verdict that would be the same now."""


@record
class Change:
    """Whether there is work; if `changed` is false, the run ends early with the verdict of the run in `judged`.

    `withdrawn` is a version of the same inputs that was rolled back from.
    """

    changed: bool
    reason: str
    inputs: Inputs
    champion: Champion
    judged: Annotated[Judged | NotJudged, BY_NAME]
    withdrawn: Annotated[ModelVersion | NothingWithdrawn, BY_NAME]


@record
class ServingCosts:
    """The costs of serving: median seconds for one question and for a batch of 256, peak memory, size of all files."""

    question_seconds: float
    batch_seconds: float
    peak_memory_bytes: int
    artifact_bytes: int


@record
class PairedCosts:
    """The costs of two models that took turns; a ratio is the median, over the rounds, of candidate / champion."""

    candidate: ServingCosts
    champion: ServingCosts
    question_ratio: float
    batch_ratio: float


@record
class UnmeasuredCosts:
    """There is a champion, but the two could not be timed side by side, twice; `reason` says what happened.

    `candidate` has the costs of the candidate alone; `champion_artifact_bytes` is the size of the champion's files.
    """

    reason: str
    candidate: ServingCosts
    champion_artifact_bytes: int


@record
class Probe:
    """How the candidate served in a fresh process: it answered hard questions and scored test rows again.

    `questions` and `rows` are their numbers. `largest_difference` is that of the scores from those of `comparison`, a
    digest. `costs` has the champion's costs too, if there is a champion. `time` is UTC in ISO 8601.
    """

    model: str
    comparison: str
    questions: int
    rows: int
    largest_difference: float
    time: str
    costs: Annotated[PairedCosts | ServingCosts | UnmeasuredCosts, BY_NAME]


@record
class PastPromotion:
    """The version that was promoted last, and when (UTC in ISO 8601)."""

    version: str
    time: str


@record
class NoPromotion:
    """The history contains no promotion."""


@record
class Past:
    """What the registry's history said when the decision was made; `time` is that of the probe (UTC in ISO 8601).

    `withdrawn` is a version with the candidate's weights or inputs that a rollback has withdrawn. `after_rollback` is
    true if no promotion followed the last rollback, `forced` if the run was started with `--force`.
    """

    time: str
    last_promotion: Annotated[PastPromotion | NoPromotion, BY_NAME]
    after_rollback: bool
    withdrawn: Annotated[ModelVersion | NothingWithdrawn, BY_NAME]
    forced: bool
    champion_source: Annotated[SourceName | UnknownSource | NoPromotion, BY_NAME] = NoPromotion()


@record
class ApprovalUnneeded:
    """No person is asked: the policy decides alone."""


@record
class ApprovalWanted:
    """A person is to decide, for the reasons in `because`; until one approves, the champion stays.

    The answer may take so many `hours`.
    """

    because: tuple[str, ...]
    hours: float


@record
class Answer:
    """What a person answered: `by` is their name, `decision` the digest of the decision that they were asked about."""

    decision: str
    approved: bool
    by: str
    time: str
    reason: str


@record
class NoAnswer:
    """A person was asked about the decision with this digest, and nobody had answered at `time`."""

    decision: str
    time: str


@record
class Question:
    """What a person is asked about the decision with this digest: a headline, a text in Markdown, `hours` to answer."""

    decision: str
    subject: str
    body: str
    hours: float


Approval = Annotated[ApprovalUnneeded | ApprovalWanted | Answer | NoAnswer, BY_NAME]


@record
class Decision:
    """The verdict on one candidate with its reasons.

    `policy`, `comparison`, `splits`, `test` (the test rows) and `probe` are digests. `triggered_by` says who or what
    started the run. `alarms` says which floors the champion itself misses on these test rows, `remarks` which operating
    points waste F1. `approval` says whether a person is asked, or what one has answered.
    """

    verdict: Verdict
    reason: str
    checks: tuple[RuleCheck, ...]
    policy: str
    candidate: str
    champion: Champion
    comparison: str
    inputs: Inputs
    splits: str
    test: str
    triggered_by: str
    alarms: tuple[str, ...]
    remarks: tuple[str, ...]
    probe: str
    past: Past
    approval: Approval = ApprovalUnneeded()


COMPARED_FIGURES = (
    "precision",
    "recall",
    "f1",
    "average_precision",
    "precision_at_recall_50",
    "roc_auc",
    "log_loss",
    "calibration_error",
)


@record
class Slice:
    """A group of test rows with a common property; `f1` is the difference in F1 on them."""

    rows: int
    positives: int
    f1: Interval


@record
class RareSlice:
    """A slice with too few positive rows to measure a difference."""

    rows: int
    positives: int


@record
class Evidence:
    """What the policy judges by, beside the two evaluations: the uncertainty of the differences, the costs, the past.

    `figures` has an interval for each of `COMPARED_FIGURES` that could be measured; `slices` has the result of each
    slice by its name. `mcnemar_p` is the p-value of McNemar's exact test on the rows that only one of the models labels
    correctly.
    """

    confidence: float
    resamples: int
    figures: dict[str, Interval]
    slices: dict[str, Annotated[Slice | RareSlice, BY_NAME]]
    candidate_alone_right: int
    champion_alone_right: int
    mcnemar_p: float
    probe: Probe
    past: Past


@record
class NoEvidence:
    """There is no evidence, because there is no champion to compare the candidate with."""


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
class Histogram:
    """How many rows lie in each bin: the first is below `edges[0]`, bin i from `edges[i - 1]` to below `edges[i]`."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@record
class Profile:
    """What a model's scores on some rows were like, and the texts of these rows; all are numbers of rows.

    `flagged` reached the threshold, `empty` have no text, `damaged` show a wrong decoding. `lengths` are in characters.
    A row whose text is missing has a length of 0, and no score.
    """

    rows: int
    flagged: int
    empty: int
    damaged: int
    scores: Histogram
    lengths: Histogram


@record
class UnknownProfile:
    """What is usual for the model is not known: it was trained before models kept the profile of their rows."""


KnownProfile = Annotated[Profile | UnknownProfile, BY_NAME]


@record
class ModelDescription:
    """The file model.json of a model: how to label with it, and the digests of what it was made from.

    `snapshot` is the sha256 of the CSV.
    `fitted_to` has the digests of the parts that its weights and threshold were fitted to, and those of its ancestors.
    `vocabulary` is the digest of what decides the token ids of a text. `profile` is that of its validation rows.
    """

    threshold: float
    encoder: str
    max_tokens: int
    config: str
    snapshot: str
    splits: str
    fitted_to: tuple[str, ...]
    started_from: Annotated[ModelVersion | PretrainedWeights, BY_NAME]
    vocabulary: str
    profile: KnownProfile = UnknownProfile()


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
class Notice:
    """What people are told of an event: what happened, why, the figures, and what to do; a line of text each."""

    event: Event
    what: str
    why: str
    figures: str
    to_do: str


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
class Part:
    """A part of a file, of so many bytes."""

    sha256: str
    bytes: int


@record
class StoredFolder:
    """A folder in an object store: its files by their paths below it, each with its parts in their order."""

    files: dict[str, tuple[Part, ...]]


@record
class SyncedFile:
    """A file as an object store had it, and as it lay on disk then: `modified` in ns since 1970."""

    parts: tuple[Part, ...]
    modified: int
    bytes: int


@record
class SyncedReports:
    """What of a run's reports a home has sent or fetched, by path; `time` is when the store's were written, if known.

    It is 0 if it is not known.
    """

    files: dict[str, SyncedFile]
    time: float


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


@record
class Removed:
    """How many folders or files of a kind were removed, and how many stay, with their bytes."""

    kind: str
    number: int
    bytes: int
    kept: int
    kept_bytes: int


@record
class Cleanup:
    """What a clean-up has removed or, as a dry run, would remove, by kind."""

    dry_run: bool
    removed: tuple[Removed, ...]


Record = (
    RawSnapshot
    | Change
    | ValidationReport
    | Splits
    | TrainedModel
    | Joined
    | Comparison
    | Decision
    | Probe
    | Promotion
    | Rollback
    | Scoring
    | Answer
    | NoAnswer
    | Question
    | Cleanup
)


def to_json(record: Any) -> str:
    """Return the record as canonical JSON: sorted keys, no spaces, no NaN, with the schema number."""
    return _canonical(record, leave_out=())


def from_json(text: str, kind: type[R]) -> R:
    """Read a record of `kind` strictly; a missing, unknown or mistyped field raises LineageError."""
    wire = _read_object(text)
    if wire.get("record") != kind.__name__:
        raise _unreadable(f"not a {kind.__name__}", kind.__name__)
    if wire.pop("schema", "none") != SCHEMA:
        raise _unreadable(f"not of schema {SCHEMA}, which this version of the code reads and writes", kind.__name__)
    try:
        return TypeAdapter(kind).validate_json(json.dumps(wire))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        what = "of no known kind" if first["type"] == "union_tag_invalid" else first["msg"]  # which quotes the value
        raise _unreadable(what, ".".join(map(str, (kind.__name__, *first["loc"])))) from None


def read_any(text: str) -> Record:
    """Read a record of the kind that its own `record` field names."""
    name = _read_object(text).get("record")
    if not isinstance(name, str) or name not in _RECORDS:
        raise _unreadable("not a JSON object whose field `record` names a kind of record", "record")
    return cast(Record, from_json(text, _RECORDS[name]))


def digest(record: Any) -> str:
    """Return the sha256, in hex, of the record's canonical JSON without the fields that its class names in BESIDE."""
    return hashlib.sha256(_canonical(record, leave_out=getattr(record, "BESIDE", ())).encode()).hexdigest()


def _canonical(record: Any, *, leave_out: Collection[str]) -> str:
    plain = TypeAdapter(type(record)).dump_python(record, mode="json")
    wire = {name: value for name, value in {**plain, "schema": SCHEMA}.items() if name not in leave_out}
    return json.dumps(wire, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def _read_object(text: str) -> dict[str, Any]:
    try:
        wire = json.loads(text)
    except (ValueError, RecursionError):  # JSONDecodeError is a ValueError; a number of 5,000 digits raises one, too
        raise _unreadable("not JSON", "record") from None
    if not isinstance(wire, dict):
        raise _unreadable("not a JSON object", "record")
    return wire


def _unreadable(what: str, where: str) -> LineageError:
    return LineageError(
        f"unreadable record: {what[:_LONGEST_REASON]}",
        where=where[:_LONGEST_REASON],
        fix="run the step before this one again with the same version of the code",
    )
