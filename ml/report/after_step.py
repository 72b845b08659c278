"""Write what people read when a step has ended: the evaluation page, and the verdict of the run."""

from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from ml.errors import SincereError
from ml.records import Change, Comparison, Decision, Promotion, Record, Rollback, Scoring, digest
from ml.registry.history import conclusions
from ml.report.notices import failure_notice, notices_of, rollback_notice
from ml.report.verdict import (
    decision_text,
    failure_text,
    has_verdict,
    outcome_after,
    outcome_before,
    rollback_text,
    scoring_text,
    unchanged_text,
    write_conclusion,
    write_verdict,
)
from ml.run import Run


def report_step(run: Run, taken: Sequence[Record], record: Record) -> None:
    """Write page and verdict for the record of a step, and tell of it; `taken` are the records that it was given."""
    by_kind = {type(each): each for each in taken}
    match record:
        case Change(changed=False):
            _write_end(run, digest(record), unchanged_text(record, dry_run=run.dry_run))
        case Comparison():
            _write_page(run, record)
        case Decision():
            comparison = cast(Comparison, by_kind[Comparison])
            _write_page(run, comparison, record)
            write_verdict(run, decision_text(run, comparison, record, outcome_before(record)))
        case Promotion():
            comparison, decision = cast(Comparison, by_kind[Comparison]), cast(Decision, by_kind[Decision])
            if record.decision == digest(decision):
                write_verdict(run, decision_text(run, comparison, decision, outcome_after(record)))
            else:
                _write_conclusions(run)
        case Scoring():
            write_verdict(run, scoring_text(run, record))
    for notice in notices_of(taken, record, dry_run=run.dry_run):
        run.tell(notice)


def report_failure(run: Run, step: str, taken: Sequence[Record], error: Exception) -> None:
    """Tell why the step failed, and write the verdict of a run that ended in it or is pending.

    A run that had concluded keeps its verdict.
    """
    pending = run.store.contains("pending", run.run_id)
    run.tell(failure_notice(step, taken, error, pending=pending))
    if step == "promote" or not _had_concluded(run):
        write_verdict(run, failure_text(step, taken, error, pending=pending))


def report_rollback(run: Run, rollback: Rollback) -> None:
    """Write the verdict of a rollback, and tell of it."""
    write_verdict(run, rollback_text(rollback))
    run.tell(rollback_notice(rollback))


def _write_end(run: Run, grounds: str, text: str) -> None:
    """Write the text, unless the run has concluded otherwise before."""
    entries = conclusions(run.registry.history(), run.run_id)
    if any(entry.decision != grounds for entry in entries):
        _write_conclusions(run)
    else:
        write_verdict(run, text)


def _write_conclusions(run: Run) -> None:
    for entry in conclusions(run.registry.history(), run.run_id):
        write_conclusion(run, entry)


def _had_concluded(run: Run) -> bool:
    """Say whether the history has a verdict of the run; ask only if one is written. Without an answer: False."""
    with suppress(SincereError):
        return has_verdict(run) and bool(conclusions(run.registry.history(), run.run_id))
    return False


def _write_page(run: Run, comparison: Comparison, *decided: Decision) -> None:
    from ml.report.evaluation_page import write_evaluation_page  # matplotlib is slow to import

    write_evaluation_page(run, comparison, *decided)
