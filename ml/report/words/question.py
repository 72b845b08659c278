"""What a person is asked about a candidate, in Markdown: verdict, figures, and what each answer will do."""

import re
from collections.abc import Sequence

from ml.records import ApprovalWanted, Comparison, Decision, NoChampion, Question, RuleCheck, digest
from ml.registry import CHAMPION_ALIAS
from ml.report.figures import columns_by_role, figure_rows
from ml.run import Run

_LONGEST_SUBJECT = 100


def question(run: Run, comparison: Comparison, decision: Decision) -> Question:
    """Return the question about a decision that waits for a person."""
    assert isinstance(decision.approval, ApprovalWanted)
    stays, move, replaced = _words(decision)
    hours = decision.approval.hours
    lines = [
        f"{_verdict(decision)} A person is asked as needed by {_escaped(' and '.join(decision.approval.because))}.",
        "",
        *_figures(comparison),
        "",
        *_failed(_gates(decision)),
        f"- **Approve**: {move}.",
        f"- **Reject**: {stays}, and nothing later in this run can promote the candidate.",
        f"- No answer within {hours:g} hours: {stays}.",
        "",
        "Answer, name, time and reason go into the decision record and the registry's history.",
        f"No approval lifts a floor, the baseline, a slice or a cost. {_link(run)}".rstrip(),
    ]
    return Question(
        decision=digest(decision),
        subject=f"May the candidate {replaced}?"[:_LONGEST_SUBJECT],
        body="\n".join(lines),
        hours=hours,
    )


def _words(decision: Decision) -> tuple[str, str, str]:
    """Say what stays without an approval, what moves with one, and what the candidate would do."""
    if isinstance(decision.champion, NoChampion):
        return "there is no champion", f"`{CHAMPION_ALIAS}` points at the candidate", "become the first champion"
    version = decision.champion.version
    move = f"`{CHAMPION_ALIAS}` moves from {version} to the candidate, if it still points at {version}"
    return f"champion {version} stays", move, f"replace champion {version}"


def _verdict(decision: Decision) -> str:
    if all(check.passed for check in _gates(decision)):
        return "**The gate would promote the candidate.**"
    return f"**{decision.verdict.upper()}**: {_escaped(decision.reason)}"


def _gates(decision: Decision) -> Sequence[RuleCheck]:
    """Return the checks but the last one, which is the approval itself."""
    return decision.checks[:-1]


def _figures(comparison: Comparison) -> list[str]:
    roles = list(columns_by_role(comparison))
    rows = [f"| {name} | {' | '.join(values)} |" for name, values in figure_rows(comparison)]
    return [f"| | {' | '.join(roles)} |", f"|---|{'---|' * len(roles)}", *rows]


def _failed(checks: Sequence[RuleCheck]) -> list[str]:
    failed = [check for check in checks if not check.passed]
    if not failed:
        return []
    rows = [f"| {_escaped(each.rule)} | {_escaped(each.observed)} | {_escaped(each.required)} |" for each in failed]
    return ["| not passed | observed | required |", "|---|---|---|", *rows, ""]


def _link(run: Run) -> str:
    return f"[The run's report]({run.run_url}/plugin/report)" if run.run_url.startswith("http") else ""


def _escaped(text: str) -> str:
    """Return the text without a meaning in Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>()#|!~&])", r"\\\1", " ".join(text.split()))
