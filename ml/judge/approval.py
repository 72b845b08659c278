"""Whether a person is asked about a candidate, and what the answer makes of the verdict; pure, as the policy is.

Until a person has approved, the verdict is none that promotes. So whoever is never asked, does not answer or rejects
leaves the champion where it is. An approval lifts no floor, baseline, slice or cost: where one fails, nobody is asked.
"""

from collections.abc import Sequence
from datetime import datetime

from ml.config import PolicyConfig
from ml.config.freeze import parse_window, read_zone
from ml.judge.policy import Judgement, judge
from ml.records import (
    Answer,
    Approval,
    ApprovalUnneeded,
    ApprovalWanted,
    Comparison,
    Evidence,
    ModelVersion,
    NoAnswer,
    NoEvidence,
    Past,
    RuleCheck,
    Verdict,
)

NO_REASON = "no reason was given"

_REQUIRED = "approved by a person"


def judge_with_person(
    comparison: Comparison,
    evidence: Evidence | NoEvidence,
    policy: PolicyConfig,
    past: Past,
    given: Approval = ApprovalUnneeded(),  # noqa: B008, a frozen record
) -> tuple[Judgement, Approval]:
    """Judge by the policy, and then by a person's answer, if the policy wants one; `given` is what there is of it.

    Raises what `judge` raises.
    """
    judgement = judge(comparison, evidence, policy)
    approved = judge(comparison, evidence, policy, approved=True)
    because = _reasons(judgement, approved, policy, past)
    if not because:
        return judgement, ApprovalUnneeded()
    answered = isinstance(given, Answer | NoAnswer)
    approval = given if answered else ApprovalWanted(because=because, hours=policy.approval_hours)
    passed = isinstance(approval, Answer) and approval.approved
    verdict: Verdict = "promote" if passed else "blocked" if judgement.verdict == "promote" else judgement.verdict
    checks = (approved if passed else judgement).checks
    return Judgement(verdict, _reason(comparison, judgement, because, approval), (*checks, _check(approval))), approval


def frozen(time: str, policy: PolicyConfig) -> Sequence[str]:
    """Return the freeze windows that a time (UTC in ISO 8601) is in."""
    local = datetime.fromisoformat(time).astimezone(read_zone(policy.timezone, "config [policy] timezone"))
    return [window for window in policy.freeze if parse_window(window)(local)]


def _reasons(judgement: Judgement, approved: Judgement, policy: PolicyConfig, past: Past) -> tuple[str, ...]:
    """Say why a person is asked; empty if nobody is, or if an approval would not help."""
    windows = tuple(f"the freeze window {window} ({policy.timezone})" for window in frozen(past.time, policy))
    if judgement.verdict == "promote":
        return (*([f"the setting approval = {policy.approval}"] if policy.approval == "always" else []), *windows)
    if policy.approval == "never" or approved.verdict != "promote":
        return ()
    return (f"the setting approval = {policy.approval}", *windows)


def _reason(comparison: Comparison, judgement: Judgement, because: Sequence[str], approval: Approval) -> str:
    if isinstance(approval, Answer) and approval.approved:
        return _approved_reason(comparison, judgement, approval)
    would = judgement.verdict == "promote"
    match approval:
        case Answer(by=by, reason=reason):
            said = f"{by} has rejected the candidate ({reason})"
        case NoAnswer():
            said = "nobody has approved the candidate in time"
        case _:
            said = "nobody has approved the candidate yet"
    needed = f"{said}, as needed by {' and '.join(because)}."
    return f"{_stays(comparison)}: {needed}" if would else f"{judgement.reason} A person may overrule this: {said}."


def _approved_reason(comparison: Comparison, judgement: Judgement, answer: Answer) -> str:
    by = f"Approved by {answer.by} ({answer.reason})"
    if judgement.verdict == "promote":
        return f"{judgement.reason} {by}."
    return f"{by}, though {judgement.reason.removeprefix(f'{_stays(comparison)}: ')}"


def _stays(comparison: Comparison) -> str:
    champion = comparison.champion
    return f"Champion {champion.version} stays" if isinstance(champion, ModelVersion) else "There is no champion yet"


def _check(approval: Approval) -> RuleCheck:
    passed = isinstance(approval, Answer) and approval.approved
    match approval:
        case Answer(by=by):
            observed = f"{'approved' if passed else 'rejected'} by {by}"
        case NoAnswer():
            observed = "no answer in time"
        case _:
            observed = "not yet"
    return RuleCheck(rule="approval", observed=observed, required=_REQUIRED, passed=passed)
