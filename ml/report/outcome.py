"""Write what people read when a step has ended: the evaluation page, and the verdict of the run."""

from collections.abc import Sequence
from typing import cast

from ml.records import Change, Comparison, Decision, Promotion, Record
from ml.report.verdict import (
    decision_text,
    failure_text,
    outcome_after,
    outcome_before,
    unchanged_text,
    write_verdict,
)
from ml.run import Run


def report_step(run: Run, taken: Sequence[Record], record: Record) -> None:
    """Write the page and the verdict for the record of a step; `taken` are the records that the step was given."""
    by_kind = {type(each): each for each in taken}
    match record:
        case Change(changed=False):
            write_verdict(run, unchanged_text(record, dry_run=run.dry_run))
        case Comparison():
            _write_page(run, record)
        case Decision():
            comparison = cast(Comparison, by_kind[Comparison])
            _write_page(run, comparison, record)
            write_verdict(run, decision_text(run, comparison, record, outcome_before(record)))
        case Promotion():
            comparison, decision = cast(Comparison, by_kind[Comparison]), cast(Decision, by_kind[Decision])
            write_verdict(run, decision_text(run, comparison, decision, outcome_after(record)))


def report_failure(run: Run, step: str, taken: Sequence[Record], error: Exception) -> None:
    """Write the verdict of a run that this step has ended with an error."""
    write_verdict(run, failure_text(step, taken, error))


def _write_page(run: Run, comparison: Comparison, *decided: Decision) -> None:
    from ml.report.evaluation_page import write_evaluation_page  # matplotlib is slow to import

    write_evaluation_page(run, comparison, *decided)
