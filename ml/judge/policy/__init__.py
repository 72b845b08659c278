"""The decision as a pure function with reasons: no files, no clock, no randomness.

Guards are rules that block: a floor, the baseline, calibration, test rows that the champion may know, slices, costs of
serving, a rollback. Gains are what a candidate must show over the champion: higher precision, higher recall, and an F1
that is surely higher, by more after a rollback. A candidate whose operating point was re-based on purpose may trade
precision for recall, or the other way. Last comes the cool-down: it holds back none but those who would be promoted.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ml.config import PolicyConfig
from ml.errors import LineageError
from ml.judge.policy.checks import UNMEASURED, Checks, failed_rules
from ml.judge.policy.costs import cost_checks
from ml.judge.policy.gains import (
    COOLDOWN_RULE,
    GAIN_RULES,
    certainty_check,
    cooldown_check,
    gain_checks,
    hysteresis_check,
)
from ml.judge.policy.guards import (
    UNSEEN_RULE,
    baseline_check,
    calibration_checks_of,
    completeness_check,
    floor_checks,
    form_checks,
    slices_check,
    unseen_check,
)
from ml.judge.policy.leave import SOURCE_RULE, Leave, source_checks, withdrawn_check
from ml.records import (
    ApprovalWanted,
    Comparison,
    Decision,
    Evaluation,
    Evidence,
    NoAnswer,
    NoChampion,
    NoEvidence,
    Probe,
    Rival,
    UnmeasuredCosts,
    Verdict,
)

_FLOORS = ("precision", "recall", "average_precision")


class _Stage(NamedTuple):
    """Checks that decide together: if one fails, and no earlier stage failed, verdict and reason are these.

    `{}` in the reason stands for the names of the failed rules.
    """

    verdict: Verdict
    reason: str
    checks: Checks


class Judgement(NamedTuple):
    """The verdict, one plain sentence with the reason, and one check for each rule."""

    verdict: Verdict
    reason: str
    checks: Checks


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
        *floor_checks(candidate, policy),
        baseline_check(candidate, comparison.baseline, policy),
        *calibration_checks_of(candidate, policy),
        *form_checks(comparison.trained.form),
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
    leave = Leave(forced=evidence.past.forced, approved=approved)
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
    circumstances = {COOLDOWN_RULE, SOURCE_RULE, UNSEEN_RULE, *GAIN_RULES}
    return decision.verdict != "blocked" or any(
        not check.passed and check.rule not in circumstances and check.observed != UNMEASURED
        for check in decision.checks
    )


def _judge_first(guards: Checks) -> Judgement:
    if missed := failed_rules(guards):
        return Judgement("blocked", f"There is no champion yet, but the candidate fails its {missed}.", guards)
    return Judgement("promote", "There is no champion yet, and the candidate passes every guard.", guards)


def _stages(
    comparison: Comparison, rival: Rival, guards: Checks, evidence: Evidence, policy: PolicyConfig, *, leave: Leave
) -> tuple[_Stage, ...]:
    """Return the stages, in order, of a candidate that must beat a champion; `guards` hold without a champion too."""
    guards = (
        *guards,
        unseen_check(rival, leave),
        completeness_check(evidence),
        slices_check(evidence, policy),
        *cost_checks(evidence.probe, policy),
    )
    past = evidence.past
    certainty, hysteresis = (certainty_check(evidence, policy, leave),), (hysteresis_check(evidence, policy, leave),)
    withdrawn, cooldown = withdrawn_check(past, leave), cooldown_check(past, policy, leave)
    return (
        _Stage(
            "blocked", "the rows come from another source than the champion's", source_checks(comparison, past, leave)
        ),
        _Stage("blocked", "a version of the same weights or inputs was rolled back from", withdrawn),
        _Stage("blocked", "the candidate fails its {}", guards),
        _Stage("keep", "the candidate shows no {}", gain_checks(comparison, rival.evaluation)),
        _Stage("inconclusive", f"{_higher(comparison)} higher, but not surely", certainty),
        _Stage("inconclusive", "F1 is surely higher, but by too little after a rollback", hysteresis),
        _Stage("blocked", "the candidate is surely better, but the cool-down is not over", cooldown),
    )


def _verdict(comparison: Comparison, rival: Rival, stages: Sequence[_Stage]) -> tuple[Verdict, str]:
    champion = rival.champion.version
    if _same_model(comparison, rival.evaluation):
        return "keep", f"The candidate is the same model as champion {champion}: nothing has changed."
    for stage in stages:
        if missed := failed_rules(stage.checks):
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


def _refuse_other_rows(candidate: Evaluation, other: Evaluation) -> None:
    if candidate.test != other.test:
        raise LineageError(
            f"the candidate was measured on rows {candidate.test[:12]}, another model on {other.test[:12]}",
            where="the comparison",
            fix="run evaluate again: it measures all models on the same rows",
        )
