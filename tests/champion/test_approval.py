"""An answer is kept and made into a decision; whoever was rejected, or approved elsewhere, is never promoted."""

from dataclasses import replace
from pathlib import Path

import pytest

from ml.champion.approval import conclude, is_open, rejections
from ml.champion.promote import promote
from ml.config import Config, PolicyConfig
from ml.errors import LineageError, PromotionPending, RegistryConflict
from ml.judge.approval import judge_with_person
from ml.judge.kept_decisions import keep_decision
from ml.records import Answer, Comparison, Decision, NoAnswer, NoChampion, NoEvidence, digest
from ml.registry import CHAMPION_ALIAS
from ml.run import Run
from ml.steps import promote_pending, run_approval
from tests.judge.examples import EVIDENCE, PAST, compare_next, judged, open_run, probed

POLICY = PolicyConfig(approval="always")
CONFIG = Config(policy=POLICY)


def waiting(run: Run, content: str = "a model", **figures: float) -> tuple[Comparison, Decision]:
    """Store a comparison's decision that waits for a person."""
    comparison = compare_next(run, content, **figures)
    first = isinstance(comparison.rival, NoChampion)
    evidence = NoEvidence() if first else replace(EVIDENCE, probe=probed(comparison))
    (verdict, reason, checks), approval = judge_with_person(comparison, evidence, POLICY, PAST)
    decision = replace(judged(comparison), verdict=verdict, reason=reason, checks=checks, approval=approval)
    keep_decision(run.store, decision, POLICY, evidence, probed(comparison))
    return comparison, decision


def answer(decision: Decision, *, approved: bool, by: str = "jane", reason: str = "looks right") -> Answer:
    return Answer(decision=digest(decision), approved=approved, by=by, time="2026-01-11T01:00:00+00:00", reason=reason)


def answered(run: Run, comparison: Comparison, decision: Decision, **given) -> Decision:
    return conclude(run, comparison, decision, probed(comparison), answer(decision, **given))


def carry_out(run: Run, comparison: Comparison, decision: Decision) -> bool:
    return promote(CONFIG, run, comparison, decision, probed(comparison)).promoted


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(tmp_path)


def test_an_approval_moves_the_alias_and_the_history_names_who_gave_it(run: Run) -> None:
    comparison, decision = waiting(run)
    assert carry_out(run, comparison, answered(run, comparison, decision, approved=True))
    (entry,) = run.registry.history()
    assert (entry.verdict, entry.promoted, entry.approval) == ("promote", True, answer(decision, approved=True))
    assert entry.reason.endswith("Approved by jane (looks right).")


def test_a_rejection_leaves_the_champion_and_the_history_names_who_gave_it(run: Run) -> None:
    comparison, decision = waiting(run)
    rejected = answered(run, comparison, decision, approved=False, reason="wrong week")
    assert not carry_out(run, comparison, rejected)
    (entry,) = run.registry.history()
    assert (entry.verdict, entry.promoted, entry.settled) == ("blocked", False, True)
    assert "jane has rejected the candidate (wrong week)" in entry.reason
    assert run.registry.resolve(CHAMPION_ALIAS) == NoChampion()


def test_nobody_asked_and_no_answer_in_time_leave_the_champion(run: Run, tmp_path: Path) -> None:
    comparison, decision = waiting(run)
    late = NoAnswer(decision=digest(decision), time="2026-01-14T00:00:00+00:00")
    assert not carry_out(run, comparison, conclude(run, comparison, decision, probed(comparison), late))
    other = open_run(tmp_path, "run-2")
    assert not carry_out(other, comparison, decision)
    assert [entry.settled for entry in run.registry.history()] == [False, False]


def test_a_rejection_stands_whatever_is_answered_later(run: Run) -> None:
    comparison, decision = waiting(run)
    first = answered(run, comparison, decision, approved=False)
    again = answered(run, comparison, decision, approved=True, by="joe")
    assert (again, rejections(run)) == (first, [answer(decision, approved=False)])


def test_a_rejection_stands_for_every_other_decision_of_its_run(run: Run) -> None:
    comparison, decision = waiting(run)
    answered(run, comparison, decision, approved=False)
    made_again = replace(decision, past=replace(PAST, time="2026-01-12T00:00:00+00:00"))
    keep_decision(run.store, made_again, POLICY, NoEvidence(), probed(comparison))
    assert answered(run, comparison, made_again, approved=True).verdict == "blocked"
    with pytest.raises(LineageError, match="jane has rejected the candidate"):
        carry_out(run, comparison, judged(comparison))


def test_an_approval_after_which_the_registry_was_away_is_overruled_by_a_rejection(run: Run) -> None:
    comparison, decision = waiting(run)
    approved = answered(run, comparison, decision, approved=True)
    answered(run, comparison, decision, approved=False)
    with pytest.raises(LineageError, match="jane has rejected the candidate"):
        carry_out(run, comparison, approved)
    assert not run.registry.history()


def test_an_approval_of_one_decision_serves_no_other(run: Run) -> None:
    comparison, decision = waiting(run)
    other, made = waiting(run, "another model")
    with pytest.raises(LineageError, match="is not the one that waits for it"):
        conclude(run, other, made, probed(other), answer(decision, approved=True))
    approved = answered(run, comparison, decision, approved=True)
    carried_over = replace(judged(other), approval=approved.approval)
    with pytest.raises(LineageError, match="given for another decision"):
        carry_out(run, other, carried_over)


def test_an_approval_that_nobody_gave_promotes_nothing(run: Run) -> None:
    comparison, decision = waiting(run)
    forged = replace(decision, verdict="promote", approval=answer(decision, approved=True))
    with pytest.raises(LineageError, match="given for another decision"):
        carry_out(run, comparison, forged)
    with pytest.raises(LineageError, match="yet to approve"):
        carry_out(run, comparison, replace(decision, verdict="promote"))


def test_an_approval_is_no_promotion_if_the_champion_has_changed_meanwhile(run: Run, tmp_path: Path) -> None:
    comparison, decision = waiting(run)
    approved = answered(run, comparison, decision, approved=True)
    quicker = open_run(tmp_path, "run-2")
    assert carry_out(quicker, *_decided(quicker, "another model"))
    with pytest.raises(RegistryConflict):
        carry_out(run, comparison, approved)


def _decided(run: Run, content: str) -> tuple[Comparison, Decision]:
    comparison = compare_next(run, content)
    return comparison, judged(comparison)


def test_a_retry_asks_nobody_once_the_run_has_concluded(run: Run) -> None:
    comparison, decision = waiting(run)
    assert is_open(run, decision)
    carry_out(run, comparison, answered(run, comparison, decision, approved=False))
    assert not is_open(run, decision)
    assert run_approval(CONFIG, run, [comparison, decision, probed(comparison)]) == decision


def test_the_question_has_verdict_figures_and_what_each_answer_does(run: Run) -> None:
    comparison, decision = waiting(run)
    question = run_approval(CONFIG, run, [comparison, decision, probed(comparison)])
    assert (question.record, question.decision, question.hours) == ("Question", digest(decision), 72.0)
    assert question.subject == "May the candidate become the first champion?"
    for part in (
        "**The gate would promote",
        "| precision | 0.7000 |",
        "**Approve**",
        "**Reject**",
        "within 72 hours",
        "floor",
    ):
        assert part in question.body


def test_an_answer_of_several_lines_becomes_one_that_ends(run: Run) -> None:
    comparison, decision = waiting(run)
    hostile = {"by": "jane\nproduction: v9 " + "x" * 200, "reason": "a\x1b[2J\n\nb" + "y" * 900}
    decided = answered(run, comparison, decision, approved=False, **hostile)
    assert decided.approval.by == ("jane production: v9 " + "x" * 200)[:100]
    assert decided.approval.reason == ("a[2J b" + "y" * 900)[:500]


def test_a_promotion_that_meets_a_freeze_is_pending_until_it_is_over(run: Run) -> None:
    comparison, decision = _decided(run, "a model")
    freeze = Config(policy=PolicyConfig(freeze=("* * * * *",)))
    with pytest.raises(PromotionPending, match=r"the freeze window \* \* \* \* \* \(UTC\) has begun"):
        promote(freeze, run, comparison, decision, probed(comparison))
    assert not run.registry.history()
    with pytest.raises(PromotionPending):
        list(promote_pending(run))
    assert carry_out(run, comparison, decision)
