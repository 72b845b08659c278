"""The decision as a pure function with reasons: no files, no clock, no randomness.

Guards are rules that block: a floor, the baseline, calibration, test rows that the champion may know, slices, costs of
serving, a rollback. Gains are what a candidate must show over the champion: higher precision, higher recall, and an F1
that is surely higher, by more after a rollback. A candidate whose operating point was re-based on purpose may trade
precision for recall, or the other way. Last comes the cool-down: it holds back none but those who would be promoted.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from ml.config import PolicyConfig
from ml.errors import LineageError
from ml.records import (
    COMPARED_FIGURES,
    LARGEST_AVERAGE_PRECISION_CHANGE,
    LEAST_LABELS_AGREEING,
    ApprovalWanted,
    Comparison,
    Contamination,
    Decision,
    Evaluation,
    Evidence,
    Float32Form,
    Interval,
    NoAnswer,
    NoChampion,
    NoEvidence,
    NoPromotion,
    NothingWithdrawn,
    PairedCosts,
    Past,
    Probe,
    RareSlice,
    Rival,
    RuleCheck,
    ServedForm,
    ServingCosts,
    Slice,
    SourceName,
    UnknownSource,
    UnmeasuredCosts,
    Verdict,
)

_Checks = tuple[RuleCheck, ...]

_SAMPLE = "sample"  # the scheme of the generated questions, which stand for nothing
_LONGEST_NAME = 60
_CLOCKS_DIFFER_HOURS = 1.0  # so much two hosts may be apart

_FLOORS = ("precision", "recall", "average_precision")
_COOLDOWN, _SOURCE, _UNSEEN, _UNMEASURED = "cool-down", "same source", "unseen test rows", "not measured"
_GAINS = ("precision gain", "recall gain", "F1 gain", "F1 gain, surely", "hysteresis")


class _Stage(NamedTuple):
    """Checks that decide together: if one fails, and no earlier stage failed, verdict and reason are these.

    `{}` in the reason stands for the names of the failed rules.
    """

    verdict: Verdict
    reason: str
    checks: _Checks


class _Leave(NamedTuple):
    """What a person has said beforehand: `forced` with the run, `approved` after its verdict."""

    forced: bool
    approved: bool

    @property
    def given(self) -> bool:
        return self.forced or self.approved

    @property
    def words(self) -> str:
        return ", but forced" if self.forced else self.approval

    @property
    def approval(self) -> str:
        return ", but approved" if self.approved else ""


class _Cost(NamedTuple):
    """One field of ServingCosts: how to print it, and the increase, in `unit`, that passes whatever the ratio is."""

    rule: str
    field: str
    unit: str
    unit_size: float
    allowance: float


_QUESTION_LATENCY = _Cost("latency of one question", "question_seconds", "ms", 1e-3, allowance=5)
_BATCH_LATENCY = _Cost("latency of 256 questions", "batch_seconds", "ms", 1e-3, allowance=5)
_MEMORY = _Cost("peak memory", "peak_memory_bytes", "MiB", 2**20, allowance=64)
_SIZE = _Cost("artifact size", "artifact_bytes", "MiB", 2**20, allowance=1)


class Judgement(NamedTuple):
    """The verdict, one plain sentence with the reason, and one check for each rule."""

    verdict: Verdict
    reason: str
    checks: _Checks


def judge(
    comparison: Comparison, evidence: Evidence | NoEvidence, policy: PolicyConfig, *, approved: bool = False
) -> Judgement:
    """Judge a candidate by itself and, if there is a champion, against the champion.

    If a person has `approved` the candidate, this lifts what the run's force lifts, and the question whether the gain
    is sure. Raises LineageError if the models were measured on different
    rows, or if there is a champion but no evidence.
    """
    candidate, rival = comparison.candidate, comparison.rival
    _refuse_other_rows(candidate, comparison.baseline)
    guards = (
        *_floors(candidate, policy),
        _baseline_check(candidate, comparison.baseline, policy),
        *_calibration_checks_of(candidate, policy),
        *_form_checks(comparison.trained.form),
    )
    if isinstance(rival, NoChampion):
        return _judge_first(guards)
    _refuse_other_rows(candidate, rival.evaluation)
    if isinstance(evidence, NoEvidence):
        raise LineageError(
            "there is a champion, but no evidence on its difference from the candidate",
            where="the decision",
            fix="gather the evidence from the scores of this comparison",
        )
    leave = _Leave(forced=evidence.past.forced, approved=approved)
    stages = _stages(comparison, rival, guards, evidence, policy, leave=leave)
    return Judgement(*_verdict(comparison, rival, stages), tuple(check for stage in stages for check in stage.checks))


def alarms(rival: Rival | NoChampion, policy: PolicyConfig) -> tuple[str, ...]:
    """Return one sentence for each floor that the champion no longer reaches."""
    if isinstance(rival, NoChampion):
        return ()
    observed = {name: getattr(rival.evaluation, name) for name in _FLOORS}
    floors = {name: getattr(policy, f"min_{name}") for name in _FLOORS}
    return tuple(
        f"champion {rival.champion.version}: {name.replace('_', ' ')} {observed[name]:.4f} is under {floors[name]:.4f}"
        for name in _FLOORS
        if observed[name] < floors[name]
    )


def remarks(comparison: Comparison, probe: Probe, policy: PolicyConfig) -> tuple[str, ...]:
    """A sentence for each operating point that wastes F1, and one for costs that were not measured."""
    if isinstance(comparison.rival, NoChampion):
        return ()
    return (
        *_waste_remarks(comparison.candidate, comparison.rival, policy),
        *_cost_remarks(probe, comparison.rival.champion.version),
    )


def _cost_remarks(probe: Probe, champion: str) -> tuple[str, ...]:
    if not isinstance(probe.costs, UnmeasuredCosts):
        return ()
    return (
        f"the costs beside champion {champion} could not be measured, twice ({probe.costs.reason}): give the machine"
        f" memory for two models, or see whether {champion} still serves; the candidate's own costs had to stay within"
        " `max_question_seconds`, `max_batch_seconds` and `max_memory_gib`",
    )


def _waste_remarks(candidate: Evaluation, rival: Rival, policy: PolicyConfig) -> tuple[str, ...]:
    """Compare each model's F1 with the best of the champion's scores on the same rows."""
    champion = rival.evaluation
    wasteful = {f"champion {rival.champion.version}": champion, "the candidate": candidate}
    return tuple(
        f"{name} has F1 {each.f1:.4f} at its operating point; the champion's scores reach {champion.best_f1:.4f} at"
        f" threshold {champion.best_threshold:.4f}: `threshold.rebase` chooses the point anew"
        for name, each in wasteful.items()
        if champion.best_f1 - each.f1 > policy.max_f1_waste
    )


def is_settled(decision: Decision) -> bool:
    """Whether the same inputs would be judged the same again.

    Not where a candidate is held back only by the time, by what could not be measured or known, or by a person who was
    not asked or did not answer.
    """
    if isinstance(decision.approval, ApprovalWanted | NoAnswer):
        return False
    circumstances = {_COOLDOWN, _SOURCE, _UNSEEN, *_GAINS}
    return decision.verdict != "blocked" or any(
        not check.passed and check.rule not in circumstances and check.observed != _UNMEASURED
        for check in decision.checks
    )


def _judge_first(guards: _Checks) -> Judgement:
    if missed := _failed(guards):
        return Judgement("blocked", f"There is no champion yet, but the candidate fails its {missed}.", guards)
    return Judgement("promote", "There is no champion yet, and the candidate passes every guard.", guards)


def _stages(
    comparison: Comparison, rival: Rival, guards: _Checks, evidence: Evidence, policy: PolicyConfig, *, leave: _Leave
) -> tuple[_Stage, ...]:
    """Return the stages, in order, of a candidate that must beat a champion; `guards` hold without a champion too."""
    guards = (
        *guards,
        _unseen_check(rival, leave),
        _completeness_check(evidence),
        _slices_check(evidence, policy),
        *_cost_checks(evidence.probe, policy),
    )
    past = evidence.past
    certainty, hysteresis = (_certainty_check(evidence, policy, leave),), (_hysteresis_check(evidence, policy, leave),)
    withdrawn, cooldown = _withdrawn_check(past, leave), _cooldown_check(past, policy, leave)
    return (
        _Stage(
            "blocked", "the rows come from another source than the champion's", _source_checks(comparison, past, leave)
        ),
        _Stage("blocked", "a version of the same weights or inputs was rolled back from", withdrawn),
        _Stage("blocked", "the candidate fails its {}", guards),
        _Stage("keep", "the candidate shows no {}", _gains(comparison, rival.evaluation)),
        _Stage("inconclusive", f"{_higher(comparison)} higher, but not surely", certainty),
        _Stage("inconclusive", "F1 is surely higher, but by too little after a rollback", hysteresis),
        _Stage("blocked", "the candidate is surely better, but the cool-down is not over", cooldown),
    )


def _verdict(comparison: Comparison, rival: Rival, stages: Sequence[_Stage]) -> tuple[Verdict, str]:
    champion = rival.champion.version
    if _same_model(comparison, rival.evaluation):
        return "keep", f"The candidate is the same model as champion {champion}: nothing has changed."
    for stage in stages:
        if missed := _failed(stage.checks):
            return stage.verdict, f"Champion {champion} stays: {stage.reason.format(missed)}."
    if comparison.trained.rebased:
        return "promote", f"F1 is surely higher than that of champion {champion}, at a point re-based on purpose."
    return "promote", f"Precision, recall and F1 are higher than those of champion {champion}, F1 surely so."


def _same_model(comparison: Comparison, champion: Evaluation) -> bool:
    """By the weights, whatever the threshold; but the champion's own weights may be re-based to another one."""
    candidate = comparison.candidate
    moved = comparison.trained.rebased and candidate.threshold != champion.threshold
    return candidate.weights == champion.weights and not moved


def _higher(comparison: Comparison) -> str:
    return "F1 is" if comparison.trained.rebased else "precision and recall are both"


def _floors(candidate: Evaluation, policy: PolicyConfig) -> _Checks:
    return (
        _floor("precision floor", candidate.precision, policy.min_precision),
        _floor("recall floor", candidate.recall, policy.min_recall),
        _floor("average precision floor", candidate.average_precision, policy.min_average_precision),
    )


def _floor(rule: str, observed: float, floor: float) -> RuleCheck:
    return RuleCheck(rule=rule, observed=f"{observed:.4f}", required=f"at least {floor:.4f}", passed=observed >= floor)


def _baseline_check(candidate: Evaluation, baseline: Evaluation, policy: PolicyConfig) -> RuleCheck:
    """Compare average precision, because it does not depend on a threshold."""
    floor = baseline.average_precision + policy.min_gain_over_baseline
    return RuleCheck(
        rule="gain over baseline",
        observed=f"average precision {candidate.average_precision:.4f}",
        required=f"higher than {floor:.4f}",
        passed=candidate.average_precision > floor,
    )


def _calibration_checks_of(candidate: Evaluation, policy: PolicyConfig) -> _Checks:
    return calibration_checks(
        error=candidate.calibration_error,
        slope=candidate.calibration_slope,
        log_loss=candidate.log_loss,
        positive_share=candidate.positives / candidate.rows,
        policy=policy,
    )


def calibration_checks(
    *, error: float, slope: float, log_loss: float, positive_share: float, policy: PolicyConfig
) -> tuple[RuleCheck, ...]:
    """Scores mean what they say: in the mean, by how sure they are, and more than one score for all rows would."""
    constant = _constant_loss(positive_share) - policy.min_gain_over_base_rate
    return (
        RuleCheck(
            rule="calibration error",
            observed=f"{error:.4f}",
            required=f"at most {policy.max_calibration_error:.4f}",
            passed=error <= policy.max_calibration_error,
        ),
        RuleCheck(
            rule="calibration slope",
            observed=f"{slope:.4g}",
            required=f"at least {policy.min_calibration_slope:g}",
            passed=slope >= policy.min_calibration_slope,
        ),
        RuleCheck(
            rule="log loss",
            observed=f"{log_loss:.4f}",
            required=f"below {constant:.4f}, a constant score's",
            passed=log_loss < constant,
        ),
    )


def _constant_loss(share: float) -> float:
    """The lowest log loss, in nats, of one score for all rows: the entropy of their labels."""
    return -sum(each * math.log(each) for each in (share, 1 - share) if each)


def _form_checks(form: ServedForm) -> _Checks:
    """A model in bfloat16 must label and rank as it does in float32."""
    if isinstance(form, Float32Form):
        return ()
    return (
        RuleCheck(
            rule="labels as in float32",
            observed=f"on {form.labels_agreeing:.3%} of {form.rows:,} validation rows",
            required=f"at least {LEAST_LABELS_AGREEING:.1%}",
            passed=form.labels_hold,
        ),
        RuleCheck(
            rule="average precision as in float32",
            observed=f"{form.average_precision_change:+.4f}",
            required=f"within {LARGEST_AVERAGE_PRECISION_CHANGE:g}",
            passed=form.average_precision_holds,
        ),
    )


def _unseen_check(rival: Rival, leave: _Leave) -> RuleCheck:
    """A champion on rows that it was fitted to looks better than it is, and a judgement on such rows says nothing."""
    required = "known"
    if isinstance(rival.contamination, Contamination):
        seen = rival.contamination.rows
        observed = f"all but {seen:,}, left out" if seen else "all"
        return RuleCheck(rule=_UNSEEN, observed=observed, required=required, passed=True)
    observed = f"unknown: the champion's rows are not here{leave.words}"
    return RuleCheck(rule=_UNSEEN, observed=observed, required=required, passed=leave.given)


def _completeness_check(evidence: Evidence) -> RuleCheck:
    """Fail if a figure is missing: without it, the rules that need it must not pass."""
    missing = [figure for figure in COMPARED_FIGURES if figure not in evidence.figures]
    return RuleCheck(
        rule="figures compared",
        observed=f"missing: {', '.join(missing)}" if missing else f"{len(COMPARED_FIGURES)} of {len(COMPARED_FIGURES)}",
        required="all of them",
        passed=not missing,
    )


def _slices_check(evidence: Evidence, policy: PolicyConfig) -> RuleCheck:
    """Check all slices at once.

    A slice fails if its F1 surely falls too far, if it is missing, or if the settings name it and it is too rare.
    """
    failed = [name for name in policy.all_slices if not _slice_passes(name, evidence.slices, policy)]
    measured = {name: each.f1 for name, each in evidence.slices.items() if isinstance(each, Slice)}
    return RuleCheck(
        rule="slices",
        observed=_describe_slices(failed, measured),
        required=f"no sure fall beyond {policy.max_slice_fall:g}",
        passed=not failed,
    )


def _slice_passes(name: str, slices: Mapping[str, Slice | RareSlice], policy: PolicyConfig) -> bool:
    match slices.get(name):
        case Slice(f1=f1):
            return f1.upper >= -policy.slice_bounds.get(name, policy.max_slice_fall)
        case RareSlice():
            return name not in policy.slices
        case _:
            return False


def _describe_slices(failed: list[str], measured: Mapping[str, Interval]) -> str:
    shown = failed or sorted(measured, key=lambda name: measured[name].difference)
    if not shown:
        return "all too rare to judge"
    worst = shown[0]
    change = f"{measured[worst].difference:+.4f}" if worst in measured else "missing"
    return f"{f'{len(failed)} failed' if failed else 'lowest'}: {worst} {change}"


def _cost_checks(probe: Probe, policy: PolicyConfig) -> _Checks:
    """Check each serving cost beside the champion's; the checks fail for a probe that knew of no champion."""
    costs = probe.costs
    if isinstance(costs, UnmeasuredCosts):
        return _alone_checks(costs, policy)
    if not isinstance(costs, PairedCosts):
        unmeasured = (_QUESTION_LATENCY, _BATCH_LATENCY, _MEMORY, _SIZE)
        return tuple(
            RuleCheck(rule=cost.rule, observed=_UNMEASURED, required="measured for both", passed=False)
            for cost in unmeasured
        )
    return (
        _cost_check(
            _QUESTION_LATENCY, *_both(costs, _QUESTION_LATENCY), costs.question_ratio, policy.max_latency_ratio
        ),
        _cost_check(_BATCH_LATENCY, *_both(costs, _BATCH_LATENCY), costs.batch_ratio, policy.max_latency_ratio),
        _plain_check(_MEMORY, *_both(costs, _MEMORY), policy.max_memory_ratio),
        _plain_check(_SIZE, *_both(costs, _SIZE), policy.max_size_ratio),
    )


def _alone_checks(costs: UnmeasuredCosts, policy: PolicyConfig) -> _Checks:
    """Hold the candidate's own costs against absolute bounds, since the champion's are not known; files have a size."""
    alone = costs.candidate
    return (
        _bound_check(_QUESTION_LATENCY, alone, policy.max_question_seconds),
        _bound_check(_BATCH_LATENCY, alone, policy.max_batch_seconds),
        _bound_check(_MEMORY, alone, policy.max_memory_gib * 2**30),
        _plain_check(_SIZE, alone.artifact_bytes, costs.champion_artifact_bytes, policy.max_size_ratio),
    )


def _bound_check(cost: _Cost, costs: ServingCosts, bound: float) -> RuleCheck:
    observed = getattr(costs, cost.field)
    return RuleCheck(
        rule=cost.rule,
        observed=f"{observed / cost.unit_size:.1f} {cost.unit}, the champion's {_UNMEASURED}",
        required=f"at most {bound / cost.unit_size:g} {cost.unit}",
        passed=observed <= bound,
    )


def _both(costs: PairedCosts, cost: _Cost) -> tuple[float, float]:
    return getattr(costs.candidate, cost.field), getattr(costs.champion, cost.field)


def _plain_check(cost: _Cost, candidate: float, champion: float, limit: float) -> RuleCheck:
    return _cost_check(cost, candidate, champion, candidate / champion, limit)


def _cost_check(cost: _Cost, candidate: float, champion: float, ratio: float, limit: float) -> RuleCheck:
    return RuleCheck(
        rule=cost.rule,
        observed=f"{ratio:.2f} x champion's {champion / cost.unit_size:.1f} {cost.unit}",
        required=f"at most {limit:g} x, or +{cost.allowance:g} {cost.unit}",
        passed=ratio <= limit or candidate - champion <= cost.allowance * cost.unit_size,
    )


def _source_checks(comparison: Comparison, past: Past, leave: _Leave) -> _Checks:
    """Fail for rows of another source than the champion's, unless a person gives leave; the sample always fails."""
    source, champions = comparison.source, past.champion_source
    if isinstance(source, UnknownSource) or isinstance(champions, NoPromotion):  # before there were names
        return ()
    same, is_sample = source == champions, source.name == _SAMPLE
    words = leave.words if not (same or is_sample) else ""
    return (
        RuleCheck(
            rule=_SOURCE,
            observed=f"{source.name[:_LONGEST_NAME]}{words}",
            required=_source_text(champions),
            passed=same or bool(words),
        ),
    )


def _source_text(source: SourceName | UnknownSource) -> str:
    if isinstance(source, UnknownSource):
        return "the champion's, which is not recorded"
    return f"the champion's: {source.name[:_LONGEST_NAME]}"


def _withdrawn_check(past: Past, leave: _Leave) -> _Checks:
    """Fail if a person rolled back from a version of the same weights or inputs, unless a person gives leave."""
    rule, required, withdrawn = "rolled back before", "no such weights or inputs", past.withdrawn
    if isinstance(withdrawn, NothingWithdrawn):
        return (RuleCheck(rule=rule, observed="none", required=required, passed=True),)
    observed = f"{withdrawn.version}{leave.words}"
    return (RuleCheck(rule=rule, observed=observed, required=required, passed=leave.given),)


def _gains(comparison: Comparison, champion: Evaluation) -> _Checks:
    candidate = comparison.candidate
    if comparison.trained.rebased:
        return _point_check(candidate, champion), _gain("F1 gain", candidate.f1, champion.f1)
    return (
        _gain("precision gain", candidate.precision, champion.precision),
        _gain("recall gain", candidate.recall, champion.recall),
    )


def _point_check(candidate: Evaluation, champion: Evaluation) -> RuleCheck:
    """Both points, for a person to see; the setting that re-based the candidate's is their word for it."""
    ours, theirs = (f"{each.precision:.4f} / {each.recall:.4f}" for each in (candidate, champion))
    return RuleCheck(
        rule="operating point, re-based",
        observed=f"precision / recall {ours}",
        required=f"any; champion {theirs}",
        passed=True,
    )


def _gain(rule: str, observed: float, champion: float) -> RuleCheck:
    return RuleCheck(
        rule=rule,
        observed=f"{observed:.4f} ({observed - champion:+.2g})",
        required=f"higher than {champion:.4f}",
        passed=observed > champion,
    )


def _certainty_check(evidence: Evidence, policy: PolicyConfig, leave: _Leave) -> RuleCheck:
    gain = evidence.figures.get("f1")
    sure = gain is not None and gain.lower > policy.min_f1_gain
    return RuleCheck(
        rule="F1 gain, surely",
        observed=_sureness(gain, "{0.difference:+.4f}, at least {0.lower:+.4f}", sure, leave),
        required=f"above {policy.min_f1_gain:g} at {evidence.confidence:.4g} confidence",
        passed=sure or (leave.approved and gain is not None),
    )


def _hysteresis_check(evidence: Evidence, policy: PolicyConfig, leave: _Leave) -> RuleCheck:
    """Require a larger gain after a rollback, which shows that the gate saw a gain where there was none."""
    gain, floor = evidence.figures.get("f1"), policy.min_f1_gain + policy.hysteresis_f1_gain
    required = f"above {floor:g} after a rollback"
    if not evidence.past.after_rollback:
        return RuleCheck(rule="hysteresis", observed="no rollback", required=required, passed=True)
    sure = gain is not None and gain.lower > floor
    return RuleCheck(
        rule="hysteresis",
        observed=_sureness(gain, "F1 at least {0.lower:+.4f}", sure, leave),
        required=required,
        passed=sure or (leave.approved and gain is not None),
    )


def _sureness(gain: Interval | None, text: str, sure: bool, leave: _Leave) -> str:
    if gain is None:
        return _UNMEASURED
    return f"{text.format(gain)}{'' if sure else leave.approval}"


def _cooldown_check(past: Past, policy: PolicyConfig, leave: _Leave) -> _Checks:
    """A promotion from the future says nothing of how long it is ago, and holds nobody back until its date."""
    required = f"at least {policy.cooldown_hours:g} hours"
    last = past.last_promotion
    if isinstance(last, NoPromotion):
        return (RuleCheck(rule=_COOLDOWN, observed="no promotion yet", required=required, passed=True),)
    hours = (datetime.fromisoformat(past.time) - datetime.fromisoformat(last.time)) / timedelta(hours=1)
    if hours < -_CLOCKS_DIFFER_HOURS:
        observed = f"unknown: {last.version} is dated {-hours:.1f} hours ahead, a clock was wrong"
        return (RuleCheck(rule=_COOLDOWN, observed=observed, required=required, passed=True),)
    over = hours >= policy.cooldown_hours
    observed = f"{max(hours, 0.0):.1f} hours after {last.version}{'' if over else leave.words}"
    return (RuleCheck(rule=_COOLDOWN, observed=observed, required=required, passed=over or leave.given),)


def _failed(checks: _Checks) -> str:
    return " and ".join(check.rule for check in checks if not check.passed)


def _refuse_other_rows(candidate: Evaluation, other: Evaluation) -> None:
    if candidate.test != other.test:
        raise LineageError(
            f"the candidate was measured on rows {candidate.test[:12]}, another model on {other.test[:12]}",
            where="the comparison",
            fix="run evaluate again: it measures all models on the same rows",
        )
