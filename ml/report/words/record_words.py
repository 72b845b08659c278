"""Say a step's record in one line of words, for a log: what the step made, and what the next one gets."""

from functools import singledispatch
from typing import Any

from ml.records import (
    ChampionSnapshot,
    Change,
    Cleanup,
    Comparison,
    Decision,
    Evaluation,
    Float32Form,
    Joined,
    ModelVersion,
    NoChampion,
    PairedCosts,
    Probe,
    Promotion,
    RawSnapshot,
    Rival,
    Rollback,
    Scoring,
    ServedForm,
    ServingCosts,
    SnapshotElsewhere,
    Split,
    Splits,
    ToldSettings,
    TrainedModel,
    ValidationReport,
    digest,
)
from ml.report.figures import champion_name

_MIB = 2**20


@singledispatch
def words_of(record: Any) -> str:
    """Return the record in words: names, numbers and reasons, no rows, no path."""
    return f"{type(record).__name__} {_short(digest(record))}"


@words_of.register
def _(record: ToldSettings) -> str:
    switches = [name for name, on in (("dry run", record.dry_run), ("forced", record.force)) if on]
    different = [f"{name} = {value}" for name, value in record.different.items()]
    return f"settings of {record.preset}: {', '.join([*switches, *different]) or 'as they are'}"


@words_of.register
def _(record: RawSnapshot) -> str:
    apart = f", {record.quarantined_rows:,} more in quarantine" if record.quarantined_rows else ""
    apart += f", {record.erased_rows:,} left out as erased" if record.erased_rows else ""
    return f"snapshot {_short(record.sha256)}: {record.rows:,} rows{apart}, {record.bytes:,} bytes from {record.source}"


@words_of.register
def _(record: Change) -> str:
    return f"{'there is work' if record.changed else 'nothing to do'}: {record.reason}"


@words_of.register
def _(record: ValidationReport) -> str:
    failed = [f"{check.name} ({check.severity})" for check in record.checks if not check.passed]
    held = f"{len(record.checks) - len(failed)} of {len(record.checks)} expectations hold"
    return f"data of snapshot {_short(record.snapshot)}: {'; not '.join([held, *failed])}; {_since(record)}"


@words_of.register
def _(record: Splits) -> str:
    parts = ", ".join(map(_part, record.parts))
    return f"splits {_short(digest(record))} by {record.strategy}: {parts}"


@words_of.register
def _(record: TrainedModel) -> str:
    origin = (
        f"champion {record.started_from.version}" if isinstance(record.started_from, ModelVersion) else "the encoder"
    )
    pace = f"for {record.train_seconds:,.0f} s at {record.examples_per_second:,.0f} examples/s"
    kept = f"epoch {record.best_epoch} kept, threshold {record.threshold:.4f}"
    return f"model {_short(record.model)}: trained from {origin} {pace}, {kept}{_form(record.form)}"


@words_of.register
def _(record: Joined) -> str:
    return f"machine {record.worker + 1} of {record.machines} trained along for {record.seconds:,.0f} s"


@words_of.register
def _(record: Comparison) -> str:
    models = {"candidate": record.candidate, "baseline": record.baseline}
    if isinstance(record.rival, Rival):
        models[f"champion {record.rival.champion.version}"] = record.rival.evaluation
    told = "; ".join(f"{name} {_figures(figures)}" for name, figures in sorted(models.items(), reverse=True))
    return f"comparison {_short(digest(record))} on {record.candidate.rows:,} test rows: {told}"


@words_of.register
def _(record: Probe) -> str:
    return (
        f"probe: served {record.questions} hard questions and {record.rows:,} test rows, scores differ by at most"
        f" {record.largest_difference:.1g}; {_costs(record)}"
    )


@words_of.register
def _(record: Decision) -> str:
    failed = [check.rule for check in record.checks if not check.passed]
    passed = f"{len(record.checks) - len(failed)} of {len(record.checks)} checks pass"
    return f"decision {_short(digest(record))}: {record.verdict}. {record.reason} ({'; not '.join([passed, *failed])})"


@words_of.register
def _(record: Promotion) -> str:
    before = champion_name(record.previous)
    if not isinstance(record.candidate, ModelVersion):
        return f"dry run: the verdict is {record.verdict}, nothing was written to the registry"
    if record.promoted:
        return f"promoted: {record.alias} is {record.version} now (before: {before})"
    return f"not promoted: the verdict is {record.verdict}, {record.alias} stays {before} (candidate: {record.version})"


@words_of.register
def _(record: Scoring) -> str:
    failed = [check.name for check in record.checks if not check.passed]
    held = f"{len(record.checks) - len(failed)} of {len(record.checks)} expectations hold"
    watch = "; not ".join([held, *failed]) if record.checks else "no watch: training's distributions are not known"
    return (
        f"{record.champion.version} scored {record.now.rows:,} questions of {record.source}: {record.now.flagged:,}"
        f" flagged, written to {record.output}; {watch}"
    )


@words_of.register
def _(record: Rollback) -> str:
    return (
        f"rolled back: {record.target.version} is champion again (before: {record.previous.version}). {record.reason}"
    )


def _since(record: ValidationReport) -> str:
    match record.since:
        case NoChampion():
            return "no champion to compare with"
        case ChampionSnapshot(version=version):
            return f"compared with the file of champion {version}"
        case SnapshotElsewhere(version=version):
            return f"the file of champion {version} is not here to compare with"


@words_of.register
def _(record: Cleanup) -> str:
    went = "would go" if record.dry_run else "went"
    lines = [
        f"{each.kind}: {each.number:,} {went} ({each.bytes:,} bytes), {each.kept:,} stay ({each.kept_bytes:,} bytes)"
        for each in record.removed
    ]
    everything = f"{sum(each.bytes for each in record.removed):,} bytes {went}"
    return "\n".join([*lines, everything])


def _part(part: Split) -> str:
    return f"{part.name} {part.rows:,} rows ({part.positives:,} insincere)"


def _figures(figures: Evaluation) -> str:
    return (
        f"precision {figures.precision:.4f}, recall {figures.recall:.4f},"
        f" average precision {figures.average_precision:.4f}"
    )


def _form(form: ServedForm) -> str:
    if isinstance(form, Float32Form):
        return ""
    return (
        f"; exported in bfloat16: {form.labels_agreeing:.4%} of {form.rows:,} labels as in float32, average precision"
        f" {form.average_precision_change:+.4f}"
    )


def _costs(record: Probe) -> str:
    match record.costs:
        case PairedCosts(candidate=costs, question_ratio=ratio):
            return f"{_cost(costs)}, {ratio:.2f} x the champion's time"
        case ServingCosts() as costs:
            return _cost(costs)
        case unmeasured:
            return f"costs not measured: {unmeasured.reason}"


def _cost(costs: ServingCosts) -> str:
    return f"{1000 * costs.question_seconds:.1f} ms a question, {costs.peak_memory_bytes / _MIB:,.0f} MiB"


def _short(sha256: str) -> str:
    return sha256[:12]
