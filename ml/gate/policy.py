"""The decision as a pure function with reasons: no files, no clock, no randomness.

Guards are rules that block: a floor, the baseline, calibration, slices. Gains are what a candidate must show over the
champion: higher precision, higher recall, and an F1 that is surely higher.
"""

from collections.abc import Mapping
from math import isfinite
from typing import NamedTuple

from ml.config import PolicyConfig, slice_expressions
from ml.errors import LineageError
from ml.gate.evidence import FIGURES, UNMEASURED, Evidence, Interval, RareSlice, Slice
from ml.records import AbsentChampion, Comparison, Evaluation, Rival, RuleCheck, Verdict

_Checks = tuple[RuleCheck, ...]


class Judgement(NamedTuple):
    """The verdict, one plain sentence that says why, and a line for each rule."""

    verdict: Verdict
    reason: str
    checks: _Checks


def judge(comparison: Comparison, evidence: Evidence | AbsentChampion, policy: PolicyConfig) -> Judgement:
    """Judge a candidate by itself and, where there is a champion, against it.

    Raises LineageError if the models were measured on different rows, or there is a champion and no evidence.
    """
    candidate, rival = comparison.candidate, comparison.rival
    _refuse_other_rows(candidate, comparison.baseline)
    guards = (*_floors(candidate, policy), _baseline_check(candidate, comparison.baseline, policy))
    if isinstance(rival, AbsentChampion):
        return _judge_first(guards)
    _refuse_other_rows(candidate, rival.evaluation)
    if isinstance(evidence, AbsentChampion):
        raise LineageError(
            "there is a champion, but no evidence on its difference from the candidate",
            where="the decision",
            fix="gather the evidence from the scores of this comparison",
        )
    guards = (
        *guards,
        _calibration_check(candidate, policy),
        _completeness_check(evidence),
        _slices_check(evidence, policy),
    )
    gains = _gains(candidate, rival.evaluation)
    certainty = _certainty_check(evidence, policy)
    return Judgement(*_verdict(candidate, rival, guards, gains, certainty), (*guards, *gains, certainty))


def _judge_first(guards: _Checks) -> Judgement:
    if missed := _failed(guards):
        return Judgement("blocked", f"There is no champion yet, but the candidate fails its {missed}.", guards)
    return Judgement("promote", "There is no champion yet, and the candidate passes every guard.", guards)


def _verdict(
    candidate: Evaluation, rival: Rival, guards: _Checks, gains: _Checks, certainty: RuleCheck
) -> tuple[Verdict, str]:
    champion = rival.champion.version
    if candidate.model == rival.evaluation.model:
        return "keep", f"The candidate is the same model as champion {champion}: nothing has changed."
    if missed := _failed(guards):
        return "blocked", f"Champion {champion} stays: the candidate fails its {missed}."
    if missed := _failed(gains):
        return "keep", f"Champion {champion} stays: the candidate shows no {missed}."
    if not certainty.passed:
        return "inconclusive", f"Champion {champion} stays: precision and recall are both higher, but not surely."
    return "promote", f"Precision, recall and F1 are higher than those of champion {champion}, F1 surely so."


def _floors(candidate: Evaluation, policy: PolicyConfig) -> _Checks:
    return (
        _floor("precision floor", candidate.precision, policy.min_precision),
        _floor("recall floor", candidate.recall, policy.min_recall),
        _floor("average precision floor", candidate.average_precision, policy.min_average_precision),
    )


def _floor(rule: str, observed: float, floor: float) -> RuleCheck:
    return RuleCheck(rule=rule, observed=f"{observed:.4f}", required=f"at least {floor:.4f}", passed=observed >= floor)


def _baseline_check(candidate: Evaluation, baseline: Evaluation, policy: PolicyConfig) -> RuleCheck:
    """By average precision, which no threshold can flatter."""
    floor = baseline.average_precision + policy.min_gain_over_baseline
    return RuleCheck(
        rule="gain over baseline",
        observed=f"average precision {candidate.average_precision:.4f}",
        required=f"higher than {floor:.4f}",
        passed=candidate.average_precision > floor,
    )


def _calibration_check(candidate: Evaluation, policy: PolicyConfig) -> RuleCheck:
    return RuleCheck(
        rule="calibration error",
        observed=f"{candidate.calibration_error:.4f}",
        required=f"at most {policy.max_calibration_error:.4f}",
        passed=candidate.calibration_error <= policy.max_calibration_error,
    )


def _completeness_check(evidence: Evidence) -> RuleCheck:
    """A figure that is missing, or no number, is no reason to pass the rules that need it."""
    missing = [figure for figure in FIGURES if not isfinite(evidence.figures.get(figure, UNMEASURED).lower)]
    return RuleCheck(
        rule="figures compared",
        observed=f"missing: {', '.join(missing)}" if missing else f"{len(FIGURES)} of {len(FIGURES)}",
        required="all of them",
        passed=not missing,
    )


def _slices_check(evidence: Evidence, policy: PolicyConfig) -> RuleCheck:
    """One line for all slices; a slice that is missing, or asked for and too rare to judge, fails."""
    failed = [name for name in slice_expressions(policy) if not _slice_passes(name, evidence.slices, policy)]
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


def _gains(candidate: Evaluation, champion: Evaluation) -> _Checks:
    return (
        _gain("precision gain", candidate.precision, champion.precision),
        _gain("recall gain", candidate.recall, champion.recall),
    )


def _gain(rule: str, observed: float, champion: float) -> RuleCheck:
    return RuleCheck(
        rule=rule,
        observed=f"{observed:.4f} ({observed - champion:+.2g})",
        required=f"higher than {champion:.4f}",
        passed=observed > champion,
    )


def _certainty_check(evidence: Evidence, policy: PolicyConfig) -> RuleCheck:
    gain = evidence.figures.get("f1", UNMEASURED)
    return RuleCheck(
        rule="F1 gain, surely",
        observed=f"{gain.difference:+.4f}, at least {gain.lower:+.4f}",
        required=f"above {policy.min_f1_gain:g} at {evidence.confidence:.4g} confidence",
        passed=gain.lower > policy.min_f1_gain,
    )


def _failed(checks: _Checks) -> str:
    return " and ".join(check.rule for check in checks if not check.passed)


def _refuse_other_rows(candidate: Evaluation, other: Evaluation) -> None:
    if candidate.test != other.test:
        raise LineageError(
            f"the candidate was measured on rows {candidate.test[:12]}, another model on {other.test[:12]}",
            where="the comparison",
            fix="run evaluate again: it measures all models on the same rows",
        )
