"""Say in one word how a run ended, or how far it came, with the reason: from its records, or from the error."""

from collections.abc import Mapping

from ml.errors import DataError, SincereError
from ml.records import (
    Change,
    Decision,
    HistoryEntry,
    ModelVersion,
    NothingWithdrawn,
    Outcome,
    Promotion,
    Rollback,
    RunOutcome,
    Scoring,
)
from ml.report.figures import champion_name
from ml.report.words.one_line import one_line
from ml.report.words.verdict import alias_line, outcome_after, outcome_before, outcome_of_entry, watched

_OUTCOMES: Mapping[str, Outcome] = {
    "promote": "promoted",
    "keep": "kept",
    "inconclusive": "inconclusive",
    "blocked": "blocked",
    "unchanged": "unchanged",
    "rollback": "rolled_back",
}


def of_change(change: Change) -> RunOutcome:
    """What comes of a run that ends without work."""
    outcome: Outcome = "unchanged" if isinstance(change.withdrawn, NothingWithdrawn) else "blocked"
    advice = "Nothing was trained. To train all the same: the DAG's Param `force`, or --force."
    alias = alias_line(f"{champion_name(change.champion)}, as before")
    return RunOutcome(outcome=outcome, step="detect", reason=change.reason, lines=(alias, advice))


def of_decision(decision: Decision) -> RunOutcome:
    """What is known before the decision is carried out."""
    lines = (alias_line(outcome_before(decision)),)
    return RunOutcome(outcome="decided", step="decide", reason=f"{decision.verdict}: {decision.reason}", lines=lines)


def of_promotion(decision: Decision, promotion: Promotion) -> RunOutcome:
    """What came of a decision that was carried out."""
    dry = not isinstance(promotion.candidate, ModelVersion)
    reason = f"{decision.verdict}: {decision.reason}" if dry else decision.reason
    outcome = "dry_run" if dry else _OUTCOMES[promotion.verdict]
    return RunOutcome(
        outcome=outcome, step="promote", reason=reason, lines=(alias_line(outcome_after(promotion)), *decision.alarms)
    )


def of_entry(entry: HistoryEntry) -> RunOutcome:
    """What a run had come to before, from its line of the history."""
    lines = ("The run had come to this verdict before.", alias_line(outcome_of_entry(entry)))
    return RunOutcome(outcome=_OUTCOMES[entry.verdict], step="promote", reason=entry.reason, lines=lines)


def of_error(step: str, error: Exception, *, pending: bool) -> RunOutcome:
    """What comes of a run that ended in an error: `pending` if its promotion waits for the registry."""
    outcome: Outcome = "pending" if pending and step == "promote" else _of_error(error)
    if isinstance(error, SincereError):
        lines = (f"where: {error.where}", f"what to do: {error.fix}")
        return RunOutcome(outcome=outcome, step=step, reason=one_line(error.what), lines=lines)
    fix = "what to do: read the traceback in the task's log, and report it"
    return RunOutcome(outcome=outcome, step=step, reason=f"an unforeseen error: {type(error).__name__}", lines=(fix,))


def of_rollback(rollback: Rollback) -> RunOutcome:
    """What a rollback did."""
    line = alias_line(f"{rollback.target.version} (before: {rollback.previous.version})")
    return RunOutcome(outcome="rolled_back", step="rollback", reason=rollback.reason, lines=(line,))


def of_scoring(scoring: Scoring) -> RunOutcome:
    """What the watch over scored questions found."""
    now = scoring.now
    flagged = f"{champion_name(scoring.champion)} flags {now.flagged:,} of {now.rows:,} questions of {scoring.source}"
    outcome: Outcome = "drift" if scoring.drift else "scored"
    lines = (f"{flagged} ({now.flagged / now.rows:.2%})", f"scored rows: {scoring.output}")
    return RunOutcome(outcome=outcome, step="score", reason=watched(scoring), lines=lines)


def _of_error(error: Exception) -> Outcome:
    return "rejected" if isinstance(error, DataError) else "failed"
