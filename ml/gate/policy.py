"""The decision as a pure function with reasons: no files, no clock, no randomness."""

from typing import NamedTuple

from ml.config import PolicyConfig
from ml.errors import LineageError
from ml.records import AbsentChampion, Evaluation, Rival, RuleCheck, Verdict


class Judgement(NamedTuple):
    """The verdict, one plain sentence that says why, and a line for each rule."""

    verdict: Verdict
    reason: str
    checks: tuple[RuleCheck, ...]


def judge(candidate: Evaluation, rival: Rival | AbsentChampion, policy: PolicyConfig) -> Judgement:
    """Judge a candidate against floors and, where there is a champion, against it.

    Raises LineageError if the two were measured on different rows.
    """
    floors = _floors(candidate, policy)
    if isinstance(rival, AbsentChampion):
        return _judge_first(floors)
    _refuse_other_rows(candidate, rival.evaluation)
    gains = _gains(candidate, rival.evaluation)
    return Judgement(*_verdict(candidate, rival, floors, gains), floors + gains)


def _judge_first(floors: tuple[RuleCheck, ...]) -> Judgement:
    if missed := _failed(floors):
        return Judgement("blocked", f"There is no champion yet, but the candidate misses its {missed}.", floors)
    return Judgement("promote", "There is no champion yet, and the candidate reaches every floor.", floors)


def _verdict(
    candidate: Evaluation, rival: Rival, floors: tuple[RuleCheck, ...], gains: tuple[RuleCheck, ...]
) -> tuple[Verdict, str]:
    champion = rival.champion.version
    if candidate.model == rival.evaluation.model:
        return "keep", f"The candidate is the same model as champion {champion}: nothing has changed."
    if missed := _failed(floors):
        return "blocked", f"Champion {champion} stays: the candidate misses its {missed}."
    if missed := _failed(gains):
        return "keep", f"Champion {champion} stays: the candidate shows no {missed}."
    return "promote", f"Precision and recall are both higher than those of champion {champion}; every floor is reached."


def _floors(candidate: Evaluation, policy: PolicyConfig) -> tuple[RuleCheck, ...]:
    return (
        _floor("precision floor", candidate.precision, policy.min_precision),
        _floor("recall floor", candidate.recall, policy.min_recall),
        _floor("average precision floor", candidate.average_precision, policy.min_average_precision),
    )


def _gains(candidate: Evaluation, champion: Evaluation) -> tuple[RuleCheck, ...]:
    return (
        _gain("precision gain", candidate.precision, champion.precision),
        _gain("recall gain", candidate.recall, champion.recall),
    )


def _floor(rule: str, observed: float, floor: float) -> RuleCheck:
    return RuleCheck(rule=rule, observed=f"{observed:.4f}", required=f"at least {floor:.4f}", passed=observed >= floor)


def _gain(rule: str, observed: float, champion: float) -> RuleCheck:
    return RuleCheck(
        rule=rule,
        observed=f"{observed:.4f} ({observed - champion:+.2g})",
        required=f"higher than {champion:.4f}",
        passed=observed > champion,
    )


def _failed(checks: tuple[RuleCheck, ...]) -> str:
    return " and ".join(check.rule for check in checks if not check.passed)


def _refuse_other_rows(candidate: Evaluation, champion: Evaluation) -> None:
    if candidate.test != champion.test:
        raise LineageError(
            f"the candidate was measured on rows {candidate.test[:12]}, the champion on {champion.test[:12]}",
            where="the comparison",
            fix="run evaluate again: it measures both on the same rows",
        )
