"""The rules that block a candidate by itself, and those that ask whether it can be compared with the champion."""

import math
from collections.abc import Mapping

from ml.config import PolicyConfig
from ml.judge.policy.checks import Checks
from ml.judge.policy.leave import Leave
from ml.records import (
    COMPARED_FIGURES,
    LARGEST_AVERAGE_PRECISION_CHANGE,
    LEAST_LABELS_AGREEING,
    Contamination,
    Evaluation,
    Evidence,
    Float32Form,
    Interval,
    RareSlice,
    Rival,
    RuleCheck,
    ServedForm,
    Slice,
)

UNSEEN_RULE = "unseen test rows"


def floor_checks(candidate: Evaluation, policy: PolicyConfig) -> Checks:
    """Check the floors under precision, recall and average precision."""
    return (
        _floor("precision floor", candidate.precision, policy.min_precision),
        _floor("recall floor", candidate.recall, policy.min_recall),
        _floor("average precision floor", candidate.average_precision, policy.min_average_precision),
    )


def _floor(rule: str, observed: float, floor: float) -> RuleCheck:
    return RuleCheck(rule=rule, observed=f"{observed:.4f}", required=f"at least {floor:.4f}", passed=observed >= floor)


def baseline_check(candidate: Evaluation, baseline: Evaluation, policy: PolicyConfig) -> RuleCheck:
    """Compare average precision, because it does not depend on a threshold."""
    floor = baseline.average_precision + policy.min_gain_over_baseline
    return RuleCheck(
        rule="gain over baseline",
        observed=f"average precision {candidate.average_precision:.4f}",
        required=f"higher than {floor:.4f}",
        passed=candidate.average_precision > floor,
    )


def calibration_checks_of(candidate: Evaluation, policy: PolicyConfig) -> Checks:
    """Check a measured candidate's calibration."""
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


def form_checks(form: ServedForm) -> Checks:
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


def unseen_check(rival: Rival, leave: Leave) -> RuleCheck:
    """A champion on rows that it was fitted to looks better than it is, and a judgement on such rows says nothing."""
    required = "known"
    if isinstance(rival.contamination, Contamination):
        seen = rival.contamination.rows
        observed = f"all but {seen:,}, left out" if seen else "all"
        return RuleCheck(rule=UNSEEN_RULE, observed=observed, required=required, passed=True)
    observed = f"unknown: the champion's rows are not here{leave.words}"
    return RuleCheck(rule=UNSEEN_RULE, observed=observed, required=required, passed=leave.given)


def completeness_check(evidence: Evidence) -> RuleCheck:
    """Fail if a figure is missing: without it, the rules that need it must not pass."""
    missing = [figure for figure in COMPARED_FIGURES if figure not in evidence.figures]
    return RuleCheck(
        rule="figures compared",
        observed=f"missing: {', '.join(missing)}" if missing else f"{len(COMPARED_FIGURES)} of {len(COMPARED_FIGURES)}",
        required="all of them",
        passed=not missing,
    )


def slices_check(evidence: Evidence, policy: PolicyConfig) -> RuleCheck:
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
