"""What people are told of an event, in words: what, why, figures, what to do. Airflow adds where to look, and sends it.

A notice has no row of the data, no secret and no line break. The Airflow side imports this module: it is light.
"""

import json
from collections.abc import Mapping, Sequence
from typing import cast, get_args

from ml.errors import DataError, SincereError
from ml.records import (
    ApprovalUnneeded,
    ApprovalWanted,
    Change,
    Comparison,
    Decision,
    Evaluation,
    Event,
    NoChampion,
    NothingWithdrawn,
    Notice,
    Promotion,
    RawSnapshot,
    Record,
    Rival,
    Rollback,
    Scoring,
    Verdict,
    digest,
    from_json,
    read_any,
    to_json,
)
from ml.report.figures import champion_name
from ml.report.words.one_line import one_line

EVENTS: tuple[Event, ...] = get_args(Event)

_LONGEST_LINE = 500
_FIGURES = ("precision", "recall", "f1", "average_precision")
_NOT_PROMOTED: dict[Verdict, Event] = {"inconclusive": "inconclusive", "blocked": "blocked"}
_NOTHING = "nothing"
_TO_DO: dict[Event, str] = {
    "kept": _NOTHING,
    "inconclusive": "nothing; more test rows, or a candidate that is better by more, would settle it",
    "blocked": "read the failed checks in the report; the Param `force` lifts a cool-down and a block after a rollback",
    "unchanged": "nothing; the Param `force` trains all the same",
}


def notices_of(taken: Sequence[Record], record: Record, *, dry_run: bool) -> Sequence[Notice]:
    """What a step's record is worth telling; `taken` are the records that the step was given.

    The verdict of a dry run is told to nobody.
    """
    by_kind = {type(each): each for each in taken}
    match record:
        case Change(changed=False) if not dry_run:
            return [_of_unchanged(record)]
        case Decision(alarms=alarms, approval=ApprovalUnneeded() | ApprovalWanted()) if alarms:
            return [_of_alarms(cast(Comparison, by_kind[Comparison]), alarms)]
        case Promotion() if not dry_run:
            return [_of_promotion(by_kind, record)]
        case Scoring() if record.drift and not dry_run:
            return [_of_drift(record)]
    return []


def rollback_notice(rollback: Rollback) -> Notice:
    """Say which version is the champion again."""
    target, previous = rollback.target.version, rollback.previous.version
    return _notice(
        "rolled_back",
        what=f"{target} is the champion again (before: {previous})",
        why=f"{rollback.reason} ({rollback.triggered_by})",
        figures=f"none; {target} was served first",
        to_do=f"nothing; what {previous} was made from is not promoted again unless a person says so",
    )


def failure_notice(step: str, taken: Sequence[Record], error: Exception, *, pending: bool) -> Notice:
    """Say why a step failed, or why the promotion waits."""
    why, to_do = f"an unforeseen error: {type(error).__name__}", "read the traceback in the task's log"
    if isinstance(error, SincereError):
        why, to_do = f"{error.what} ({error.where})", error.fix
    event = _event_of(step, error, pending=pending)
    what = {
        "pending": "the verdict is known, and the registry did not answer",
        "rejected": f"the step {step} refused the data",
    }.get(event, f"the step {step} ended the run")
    return _notice(event, what=what, why=why, figures=_figures_so_far(taken), to_do=to_do)


def silent_failure_notice(task_id: str, why: str) -> Notice:
    """Say that a task failed whose step could say nothing, since it was killed or never began."""
    return _notice(
        "failed",
        what=f"the task {task_id} ended the run",
        why=why,
        figures="none",
        to_do=f"read the log of the task {task_id}; when its cause is gone, clear the task",
    )


def late_notice(run: str, *, due: str, deadline: str) -> Notice:
    """Say that a run has not ended by its deadline; the times are UTC in ISO 8601."""
    return _notice(
        "late",
        what=f"the run {run} has not ended by its deadline",
        why="a task takes long, or waits for a slot, a retry or a person",
        figures=f"due from {_minute(due)}, deadline {_minute(deadline)}",
        to_do="see which task of the run goes on or waits, and read its log",
    )


def approval_notice(records: Sequence[Mapping[str, object]], *, until: str) -> Notice:
    """Say that a person is asked; `records` have a Comparison and a Decision, `until` when an answer is due."""
    found = {type(each): each for each in (read_any(json.dumps(record)) for record in records)}
    comparison, decision = cast(Comparison, found[Comparison]), cast(Decision, found[Decision])
    return _notice(
        "approval_wanted",
        what=f"may the candidate become the champion (now: {champion_name(decision.champion)})?",
        why=f"{decision.verdict.upper()}: {decision.reason}",
        figures=_compared(comparison),
        to_do=f"answer the run's required action by {until}; without an answer nothing changes",
    )


def notice_lines(notice: Notice, address: str) -> tuple[str, str, str, str, str]:
    """The five lines of a notice: what, why, figures, what to do, and where to look."""
    return (
        notice.what,
        f"Why: {notice.why}",
        f"Figures: {notice.figures}",
        f"What to do: {notice.to_do}",
        f"Where: {address}",
    )


def to_lines(notices: Sequence[Notice]) -> str:
    """The notices as JSON, one a line."""
    return "\n".join(map(to_json, notices))


def from_lines(text: str) -> Sequence[Notice]:
    """Read what `to_lines` gave."""
    return [from_json(line, Notice) for line in text.split("\n") if line]


def _notice(event: Event, *, what: str, why: str, figures: str, to_do: str) -> Notice:
    headline = f"{event.replace('_', ' ').capitalize()}: {what}"
    return Notice(event=event, what=_line(headline), why=_line(why), figures=_line(figures), to_do=_line(to_do))


def _line(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"


def _minute(time: str) -> str:
    return f"{time[:16].replace('T', ' ')} UTC"


def _of_unchanged(change: Change) -> Notice:
    event: Event = "unchanged" if isinstance(change.withdrawn, NothingWithdrawn) else "blocked"
    return _notice(
        event,
        what=f"nothing was trained, and {_stays(champion_name(change.champion))}",
        why=change.reason,
        figures="none; nothing was measured",
        to_do=_TO_DO["unchanged"],
    )


def _of_alarms(comparison: Comparison, alarms: Sequence[str]) -> Notice:
    rival = cast(Rival, comparison.rival)
    return _notice(
        "champion_under_floor",
        what=f"champion {rival.champion.version} is too weak on this run's rows, whatever the verdict",
        why="; ".join(alarms),
        figures=f"{_rates(rival.evaluation)}, on {rival.evaluation.rows:,} test rows",
        to_do="see in the Data Docs whether the questions have changed; train on newer rows, or roll back",
    )


def _of_promotion(by_kind: Mapping[type, Record], promotion: Promotion) -> Notice:
    decision, comparison = cast(Decision, by_kind[Decision]), cast(Comparison, by_kind[Comparison])
    before, ours = champion_name(promotion.previous), promotion.decision == digest(decision)
    event = "promoted" if promotion.promoted else _NOT_PROMOTED.get(promotion.verdict, "kept")
    stays = f"{_stays(before)} (the candidate is version {promotion.version})"
    return _notice(
        event,
        what=f"{promotion.version} is the champion now (before: {before})" if promotion.promoted else stays,
        why=decision.reason if ours else "the run had come to this verdict before",
        figures=_compared(comparison) if ours else "none; see the history",
        to_do=_after_promotion(before) if promotion.promoted else _TO_DO[event],
    )


def _of_drift(scoring: Scoring) -> Notice:
    now = scoring.now
    return _notice(
        "drift",
        what=f"the scored questions are not like those that champion {scoring.champion.version} was trained on",
        why="; ".join(f"{check.name}: {check.observed}" for check in scoring.drift),
        figures=f"{now.flagged:,} of {now.rows:,} questions of {scoring.source} are flagged",
        to_do="see in the report what is different; if the questions are right, label some of them and retrain",
    )


def _after_promotion(before: str) -> str:
    return _NOTHING if before == "none" else f"nothing; a rollback leads back to {before}"


def _stays(champion: str) -> str:
    return "there is still no champion" if champion == "none" else f"champion {champion} stays"


def _event_of(step: str, error: Exception, *, pending: bool) -> Event:
    if pending and step == "promote":
        return "pending"
    return "rejected" if isinstance(error, DataError) else "failed"


def _figures_so_far(taken: Sequence[Record]) -> str:
    for record in taken:
        match record:
            case Comparison():
                return _compared(record)
            case RawSnapshot():
                return f"{record.rows:,} rows in the file"
    return "none; nothing was measured"


def _compared(comparison: Comparison) -> str:
    beside = "" if isinstance(comparison.rival, NoChampion) else f"; champion: {_rates(comparison.rival.evaluation)}"
    return f"candidate: {_rates(comparison.candidate)}{beside}; on {comparison.candidate.rows:,} test rows"


def _rates(evaluation: Evaluation) -> str:
    names = (name.replace("_", " ").replace("f1", "F1") for name in _FIGURES)
    return ", ".join(f"{name} {getattr(evaluation, field):.4f}" for name, field in zip(names, _FIGURES, strict=True))
