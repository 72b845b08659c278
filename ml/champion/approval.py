"""What a person has answered about a run's candidate: kept at once, and made into a decision.

A rejection stands for the whole run: no later answer, and no other decision of the run, is followed by a promotion.
An approval serves the one decision that it names.
"""

from collections.abc import Sequence
from dataclasses import replace

from ml.errors import LineageError
from ml.judge.approval import judge_with_person
from ml.judge.kept_decisions import evidence_of, keep_decision, policy_of
from ml.records import Answer, ApprovalWanted, Comparison, Decision, NoAnswer, Probe, digest, from_json, to_json
from ml.registry.history import conclusions
from ml.run import Run
from ml.store import Store

_FILE = "answer.json"
_LONGEST_NAME, _LONGEST_REASON = 100, 500


def is_open(run: Run, decision: Decision) -> bool:
    """Whether a person's answer can still change anything: one is wanted, and the run has not concluded."""
    return isinstance(decision.approval, ApprovalWanted) and not conclusions(run.registry.history(), run.run_id)


def conclude(run: Run, comparison: Comparison, decision: Decision, probe: Probe, given: Answer | NoAnswer) -> Decision:
    """Return the decision with the answer in it, and keep both; the same answer gives the same decision.

    Raises LineageError if the answer is no rejection, and about another decision.
    """
    rejected = isinstance(given, Answer) and not given.approved
    if given.decision != digest(decision) and not rejected:
        raise LineageError(
            f"the answer is about decision {given.decision[:12]}, which is not the one that waits for it",
            where=f"the answer, run {run.run_id}",
            fix="ask again: clear the task `approve`",
        )
    answer = _keep(run, given) if isinstance(given, Answer) else given
    policy, evidence = policy_of(run.store, decision), evidence_of(run.store, decision)
    (verdict, reason, checks), approval = judge_with_person(comparison, evidence, policy, decision.past, answer)
    concluded = replace(decision, verdict=verdict, reason=reason, checks=checks, approval=approval)
    keep_decision(run.store, concluded, policy, evidence, probe)
    return concluded


def rejections(run: Run) -> Sequence[Answer]:
    """Return the rejection of the run's candidate; empty if nobody has rejected it."""
    return [answer for answer in _kept(run.store, run.run_id) if not answer.approved]


def refuse_unapproved(run: Run, decision: Decision) -> None:
    """Raise LineageError for a promotion that a person has rejected, or has yet to approve, or approved elsewhere."""
    if decision.verdict != "promote":
        return
    for answer in rejections(run):
        raise _refused(f"{answer.by} has rejected the candidate ({answer.reason})", run)
    if isinstance(decision.approval, ApprovalWanted | NoAnswer):
        raise _refused("a person has yet to approve the candidate", run)
    if isinstance(decision.approval, Answer) and not _is_about(run.store, decision.approval, decision, run.run_id):
        raise _refused("the approval was given for another decision", run)


def _is_about(store: Store, answer: Answer, decision: Decision, run_id: str) -> bool:
    """Whether the answer is kept, and the decision that it names differs from this one by the answer alone."""
    if answer not in _kept(store, run_id) or not store.contains("decisions", answer.decision):
        return False
    asked = from_json((store.open("decisions", answer.decision) / "decision.json").read_text("utf-8"), Decision)
    as_concluded = replace(
        asked, verdict=decision.verdict, reason=decision.reason, checks=decision.checks, approval=decision.approval
    )
    return as_concluded == decision


def _keep(run: Run, answer: Answer) -> Answer:
    """Keep an answer, and return it; but a rejection that was kept before stays, and is returned."""
    for rejection in rejections(run):
        return rejection
    answer = replace(answer, by=_line(answer.by, _LONGEST_NAME), reason=_line(answer.reason, _LONGEST_REASON))
    run.store.put("answers", run.run_id, {_FILE: to_json(answer)})
    return answer


def _kept(store: Store, run_id: str) -> Sequence[Answer]:
    if not store.contains("answers", run_id):
        return []
    return [from_json((store.open("answers", run_id) / _FILE).read_text(encoding="utf-8"), Answer)]


def _line(text: str, longest: int) -> str:
    """Return the text as one line of printable characters."""
    return "".join(mark for mark in " ".join(text.split()) if mark.isprintable())[:longest]


def _refused(what: str, run: Run) -> LineageError:
    return LineageError(what, where=f"the decision, run {run.run_id}", fix="the champion stays; start a new run")
