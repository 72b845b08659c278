"""What one step hands to the next: frozen, small, plain JSON on the wire, each naming its parents by sha256.

Rows, arrays, user text and paths of this machine never travel in a record.
"""

import hashlib
import json
import types
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ml.errors import LineageError

WIRE_LIMIT_BYTES = 4096

Severity = Literal["none", "info", "warning", "critical"]
SplitName = Literal["train", "validation", "test"]
Verdict = Literal["promote", "inconclusive", "keep", "blocked"]

# Of a field that came later than its record: at its default it is not written, so that kept records keep their digest.
_LATER = {"later": True}
UNRECORDED = "unrecorded"


@dataclass(frozen=True, kw_only=True)
class RawSnapshot:
    """One CSV as it was pulled; `sha256` is of its bytes, `source` bears no credentials and no local folder."""

    source: str
    sha256: str
    rows: int
    columns: tuple[str, ...]
    bytes: int
    quarantined_rows: int


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """One expectation and what was seen; `column` is "table" for expectations about the whole file."""

    name: str
    column: str
    severity: Severity
    passed: bool
    observed: str


@dataclass(frozen=True, kw_only=True)
class ValidationReport:
    """What Great Expectations found in a snapshot; `docs` is relative to the reports folder."""

    snapshot: str
    suite: str
    suite_digest: str
    passed: bool
    worst_severity: Severity
    checks: tuple[DataCheck, ...]
    docs: str


@dataclass(frozen=True, kw_only=True)
class Split:
    """One part of the data; `digest` is of its stored rows."""

    name: SplitName
    digest: str
    rows: int
    positives: int


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The parts that training, threshold choice and judgement use; no normalised text is in two of them.

    `warnings` are the expectations of the file and of its splits that failed, none of them critical.
    """

    snapshot: str
    report: str
    strategy: Literal["hash", "random"]
    seed: int
    labels: tuple[str, str]
    parts: tuple[Split, Split, Split]
    duplicate_texts: int
    conflicting_texts: int
    warnings: tuple[DataCheck, ...] = field(default=(), metadata=_LATER)

    def part(self, name: SplitName) -> Split:
        """The part of that name."""
        return next(part for part in self.parts if part.name == name)


@dataclass(frozen=True, kw_only=True)
class AbsentChampion:
    """Proven: the registry answered, and its alias points at nothing."""


@dataclass(frozen=True, kw_only=True)
class FoundChampion:
    """The version that the alias points at, and the digest of its files."""

    version: str
    model: str


Champion = AbsentChampion | FoundChampion


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """An exported classifier; `model` is the digest of its files, `threshold` its decision threshold in [0, 1].

    `started_from` is the champion whose weights training began with; absent: the pretrained encoder's.
    """

    model: str
    splits: str
    config: str
    encoder: str
    threshold: float
    best_epoch: int
    examples_per_second: float
    train_seconds: float
    peak_memory_bytes: int
    started_from: Champion = field(default=AbsentChampion(), metadata=_LATER)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One model's figures on one set of test rows, at the model's own threshold. All rates are in [0, 1]."""

    model: str
    test: str
    rows: int
    positives: int
    threshold: float
    precision: float
    recall: float
    f1: float
    average_precision: float
    precision_at_recall_50: float
    roc_auc: float
    log_loss: float
    calibration_error: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


@dataclass(frozen=True, kw_only=True)
class Contamination:
    """So many test rows may have been in the champion's training; they were left out for both models."""

    rows: int


@dataclass(frozen=True, kw_only=True)
class UnknownContamination:
    """The rows that the champion was trained on are not in this store."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """The champion, measured now on the candidate's test rows."""

    champion: FoundChampion
    evaluation: Evaluation
    contamination: Contamination | UnknownContamination = UnknownContamination()


@dataclass(frozen=True, kw_only=True)
class ChampionFigures:
    """What a champion reached on the test rows of one run."""

    version: str
    rows: int
    precision: float
    recall: float
    average_precision: float


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A candidate's figure minus the champion's on the same rows; each bound holds by itself with some confidence."""

    difference: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class Gains:
    """How much more a candidate reached than the champion, and the confidence of each bound."""

    confidence: float
    precision: Interval
    recall: Interval
    f1: Interval


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Candidate, champion and baseline on the same test rows; `report` is relative to the reports folder.

    The baseline is no neural network, and is trained on the candidate's rows (see ml/judge/baseline.py).

    `snapshot` is the sha256 of the CSV that the rows come from, `warnings` are the names of the expectations that it or
    its splits failed.
    """

    snapshot: str
    trained: TrainedModel
    candidate: Evaluation
    baseline: Evaluation
    rival: Rival | AbsentChampion
    report: str
    warnings: tuple[str, ...] = field(default=(), metadata=_LATER)


@dataclass(frozen=True, kw_only=True)
class RuleCheck:
    """One line of the decision: what was observed, what was required, and whether it passed."""

    rule: str
    observed: str
    required: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a candidate comes from, as digests: the CSV, the settings, the expectation suites and the code."""

    snapshot: str
    config: str
    suites: str
    code: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """Whether this run has other inputs than the champion's; without `changed` there is no work."""

    changed: bool
    reason: str
    inputs: Inputs
    champion: Champion


@dataclass(frozen=True, kw_only=True)
class ServingCosts:
    """What serving a model takes: medians for one question and a batch of 256, the most memory, all files' size."""

    question_seconds: float
    batch_seconds: float
    peak_memory_bytes: int
    artifact_bytes: int


@dataclass(frozen=True, kw_only=True)
class PairedCosts:
    """Of two models that took turns; a ratio is the median of candidate's by champion's seconds, round by round."""

    candidate: ServingCosts
    champion: ServingCosts
    question_ratio: float
    batch_ratio: float


@dataclass(frozen=True, kw_only=True)
class UnmeasuredCosts:
    """The probe is older than the measuring of costs."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The candidate in a fresh process: hard `questions` answered, test `rows` scored as in `comparison`.

    Its `costs` are alone where there is no champion, or it did not serve; they are of `time`, UTC in ISO 8601.
    """

    model: str
    comparison: str
    questions: int
    rows: int
    largest_difference: float
    time: str = field(default=UNRECORDED, metadata=_LATER)
    costs: PairedCosts | ServingCosts | UnmeasuredCosts = field(default=UnmeasuredCosts(), metadata=_LATER)


@dataclass(frozen=True, kw_only=True)
class PastPromotion:
    """When a version was promoted: UTC in ISO 8601."""

    version: str
    time: str


@dataclass(frozen=True, kw_only=True)
class NoPromotion:
    """The history has none."""


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What the registry's history said when the decision was made, on a probe of `time` (UTC in ISO 8601).

    `withdrawn` is the version that was rolled back from and has the candidate's files or inputs, `after_rollback`
    says that nothing was promoted since the last rollback, `forced` that the run was told to go on.
    """

    time: str
    last_promotion: PastPromotion | NoPromotion
    after_rollback: bool
    withdrawn: FoundChampion | AbsentChampion
    forced: bool


@dataclass(frozen=True, kw_only=True)
class Unrecorded:
    """The decision is older than the rules that ask for this: they had no say in it."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The verdict on one candidate with its reasons.

    `policy`, `comparison`, `splits`, `test` (the test rows) and `probe` are digests; `triggered_by` says who or what
    began the run, `alarms` which floors the champion misses by now.
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
    alarms: tuple[str, ...] = ()
    probe: str = field(default=UNRECORDED, metadata=_LATER)
    circumstances: Circumstances | Unrecorded = field(default=Unrecorded(), metadata=_LATER)


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """The alias moved back from `previous` to `target` by hand, and why."""

    target: FoundChampion
    previous: FoundChampion
    reason: str
    triggered_by: str


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What happened to the alias; `previous` is the champion that the decision named.

    A dry run promotes nothing, and its `version` is "unregistered".
    """

    promoted: bool
    verdict: Verdict
    version: str
    alias: str
    previous: Champion
    decision: str
    report: str
    dry_run: bool = False


Record = (
    RawSnapshot
    | Change
    | ValidationReport
    | Splits
    | TrainedModel
    | Comparison
    | Decision
    | Probe
    | Promotion
    | Rollback
)

_RECORDS: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        RawSnapshot,
        DataCheck,
        ValidationReport,
        Split,
        Splits,
        TrainedModel,
        Evaluation,
        AbsentChampion,
        FoundChampion,
        Contamination,
        UnknownContamination,
        Rival,
        ChampionFigures,
        Comparison,
        RuleCheck,
        Inputs,
        Change,
        ServingCosts,
        PairedCosts,
        UnmeasuredCosts,
        Probe,
        PastPromotion,
        NoPromotion,
        Circumstances,
        Unrecorded,
        Decision,
        Promotion,
        Rollback,
    )
}

R = TypeVar("R")


def to_json(record: Any) -> str:
    """The record as canonical JSON: sorted keys, no spaces, no NaN, at most `WIRE_LIMIT_BYTES`."""
    text = json.dumps(_plain(record), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    if len(text.encode()) > WIRE_LIMIT_BYTES:
        raise LineageError(
            f"a {type(record).__name__} of {len(text.encode())} bytes exceeds {WIRE_LIMIT_BYTES}",
            where="the record on its way to the next step",
            fix="shorten the list that it carries, for example the number of expectations in the suite",
        )
    return text


def from_json(text: str, kind: type[R]) -> R:
    """Read a record of `kind` strictly; a missing, unknown or mistyped field raises LineageError."""
    try:
        return cast(R, _parse(json.loads(text), kind, kind.__name__))
    except json.JSONDecodeError as error:
        raise _unreadable(f"not JSON ({error.msg})", kind.__name__) from None


def read_any(text: str) -> Record:
    """Read a record of the kind that its own `record` field names."""
    try:
        name = json.loads(text)["record"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise _unreadable("not a JSON object with a `record` field", "record") from None
    if not isinstance(name, str) or name not in _RECORDS:
        raise _unreadable(f"unknown kind {name!r}", "record")
    return cast(Record, from_json(text, _RECORDS[name]))


def digest(record: Any) -> str:
    """Sha256, in hex, of the record's canonical JSON."""
    return hashlib.sha256(to_json(record).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        written = [each.name for each in fields(value) if not _is_unwritten(each, value)]
        return {"record": type(value).__name__, **{name: _plain(getattr(value, name)) for name in written}}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _is_unwritten(each: "Field[Any]", record: Any) -> bool:
    return each.metadata == _LATER and getattr(record, each.name) == each.default


def _parse(value: Any, kind: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _parse_union(value, get_args(kind), where)
    if origin is tuple:
        return _parse_tuple(value, get_args(kind), where)
    if origin is Literal:
        if value in get_args(kind):
            return value
        raise _unreadable(f"{value!r} is none of {', '.join(get_args(kind))}", where)
    if is_dataclass(kind):
        return _parse_record(value, cast(type, kind), where)
    return _parse_scalar(value, kind, where)


def _parse_record(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, dict) or value.get("record") != kind.__name__:
        raise _unreadable(f"not a {kind.__name__}", where)
    hints = get_type_hints(kind)
    # A field with a default came later than the rest: what was kept before it stays readable.
    late = {each.name for each in fields(kind) if each.default is not MISSING}
    unknown, missing = value.keys() - hints.keys() - {"record"}, hints.keys() - value.keys() - late
    if unknown or missing:
        raise _unreadable(f"unknown fields {sorted(unknown)}, missing fields {sorted(missing)}", where)
    given = {name: hint for name, hint in hints.items() if name in value}
    return kind(**{name: _parse(value[name], hint, f"{where}.{name}") for name, hint in given.items()})


def _parse_union(value: Any, kinds: tuple[Any, ...], where: str) -> Any:
    name = value.get("record") if isinstance(value, dict) else None
    for kind in kinds:
        if kind.__name__ == name:
            return _parse(value, kind, where)
    raise _unreadable(f"none of {', '.join(kind.__name__ for kind in kinds)}", where)


def _parse_tuple(value: Any, kinds: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _unreadable("not a list", where)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise _unreadable(f"{len(value)} items where {len(kinds)} belong", where)
    return tuple(
        _parse(item, kind, f"{where}[{index}]") for index, (item, kind) in enumerate(zip(value, kinds, strict=True))
    )


def _parse_scalar(value: Any, kind: type, where: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise _unreadable(f"{type(value).__name__} where {kind.__name__} belongs", where)
    return value


def _unreadable(what: str, where: str) -> LineageError:
    return LineageError(
        f"unreadable record: {what}", where=where, fix="run the step before this one again with the same code version"
    )
