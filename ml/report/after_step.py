"""Write what people read when a step has ended: the evaluation page, and the verdict of the run."""

from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from ml.errors import PermanentError, SincereError
from ml.judge.kept_decisions import evidence_of
from ml.records import Change, Comparison, Decision, Promotion, Record, Rollback, RunOutcome, Scoring, digest, to_json
from ml.registry.history import conclusions
from ml.report.words.notices import failure_notice, notices_of, rollback_notice
from ml.report.words.run_outcome import (
    of_change,
    of_decision,
    of_entry,
    of_error,
    of_promotion,
    of_rollback,
    of_scoring,
)
from ml.report.words.verdict import (
    decision_text,
    failure_text,
    has_verdict,
    outcome_after,
    outcome_before,
    read_verdict,
    rollback_text,
    scoring_text,
    unchanged_text,
    write_conclusion,
    write_verdict,
)
from ml.run import Run
from ml.store.files import write_whole


def report_step(run: Run, taken: Sequence[Record], record: Record) -> None:
    """Write page and verdict for the record of a step, and tell of it; `taken` are the records that it was given."""
    by_kind = {type(each): each for each in taken}
    run.keep_for_page(record)
    match record:
        case Change(changed=False):
            _write_end(run, record)
            _keep_entries(run)
        case Comparison():
            _write_page(run, record)
        case Decision():
            comparison = cast(Comparison, by_kind[Comparison])
            _write_page(run, comparison, record)
            run.keep_for_page(evidence_of(run.store, record))
            _tell(run, decision_text(run, comparison, record, outcome_before(record)), of_decision(record))
        case Promotion():
            comparison, decision = cast(Comparison, by_kind[Comparison]), cast(Decision, by_kind[Decision])
            if record.decision == digest(decision):
                text = decision_text(run, comparison, decision, outcome_after(record))
                _tell(run, text, of_promotion(decision, record))
            else:
                _write_conclusions(run)
            _keep_entries(run)
        case Scoring():
            _tell(run, scoring_text(run, record), of_scoring(record))
    for notice in notices_of(taken, record, dry_run=run.dry_run):
        run.tell(notice)


def report_failure(run: Run, step: str, taken: Sequence[Record], error: Exception) -> None:
    """Tell why the step failed, and write the verdict of a run that ended in it or is pending.

    A run that had concluded keeps its verdict.
    """
    pending = _is_pending(run)
    run.tell(failure_notice(step, taken, error, pending=pending))
    if step == "promote" or not _had_concluded(run):
        _tell(run, failure_text(step, taken, error, pending=pending), of_error(step, error, pending=pending))


def _is_pending(run: Run) -> bool:
    """Say whether the run's promotion is pending, by what this home knows if the store does not answer."""
    try:
        return run.store.contains("pending", run.run_id)
    except SincereError:
        return run.store.place("pending", run.run_id).is_dir()


def report_end(run: Run, step: str, error: SincereError) -> None:
    """Write the verdict of a step that was refused, or killed before it wrote its own; one that it wrote stays.

    A decision stays too, if it is the step `promote` that was killed.
    """
    written = read_verdict(run.report_folder) if has_verdict(run) else ""
    wrote_itself = isinstance(error, PermanentError) and written.startswith(f"FAILED: the step {step} ")
    if not (wrote_itself or (written and step == "promote")):
        report_failure(run, step, (), error)


def report_rollback(run: Run, rollback: Rollback) -> None:
    """Write the verdict of a rollback, and tell of it."""
    _tell(run, rollback_text(rollback), of_rollback(rollback))
    run.keep_for_page(rollback)
    _keep_entries(run)
    run.tell(rollback_notice(rollback))


def _keep_entries(run: Run) -> None:
    """Keep what the history says of the run beside its reports, for those who ask while the registry is away."""
    with suppress(SincereError):
        for entry in run.registry.history():
            if entry.run_id == run.run_id:
                write_whole(run.report_folder / "history" / f"{entry.decision}.json", to_json(entry))


def _write_end(run: Run, change: Change) -> None:
    """Tell of a run without work, unless the run has concluded otherwise before."""
    entries = conclusions(run.registry.history(), run.run_id)
    if any(entry.decision != digest(change) for entry in entries):
        _write_conclusions(run)
    else:
        _tell(run, unchanged_text(change, dry_run=run.dry_run), of_change(change))


def _write_conclusions(run: Run) -> None:
    for entry in conclusions(run.registry.history(), run.run_id):
        write_conclusion(run, entry)
        run.keep_for_page(of_entry(entry))


def _tell(run: Run, text: str, outcome: RunOutcome) -> None:
    """Write the verdict for people who read files, and keep it for the run's page."""
    write_verdict(run, text)
    run.keep_for_page(outcome)


def _had_concluded(run: Run) -> bool:
    """Say whether the history has a verdict of the run; ask only if one is written. Without an answer: False."""
    with suppress(SincereError):
        return has_verdict(run) and bool(conclusions(run.registry.history(), run.run_id))
    return False


def _write_page(run: Run, comparison: Comparison, *decided: Decision) -> None:
    from ml.report.evaluation_page import write_evaluation_page  # matplotlib is slow to import

    write_evaluation_page(run, comparison, *decided)
