"""The steps of the pipeline, in order: one table for the command line, which the Airflow operator calls.

A step is a function (config, run, *records) -> record. Its module is imported when the step runs, so importing this
table is cheap.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module

from ml.champion.retention import mark_underway
from ml.config import Config
from ml.errors import LineageError, PermanentError, SincereError
from ml.records import (
    Comparison,
    Decision,
    Probe,
    RawSnapshot,
    Record,
    Rollback,
    Splits,
    TrainedModel,
    ValidationReport,
    to_json,
)
from ml.report.after_step import report_failure, report_rollback, report_step
from ml.run import Run
from ml.tracking import NoTracker, Tracker

WIRE_LIMIT_BYTES = 65_536

_NO_TRACKER = NoTracker()


@dataclass(frozen=True, kw_only=True)
class Step:
    """The function of a step as `module:function`, the kinds of records that it takes, and its help text."""

    function: str
    takes: tuple[type, ...]
    help: str


STEPS: dict[str, Step] = {
    "snapshot": Step(
        function="ml.source.snapshot:snapshot", takes=(), help="pull the CSV and keep it under its sha256"
    ),
    "detect": Step(
        function="ml.judge.change_detection:detect",
        takes=(RawSnapshot,),
        help="see whether CSV, settings or code differ from those of the champion's run",
    ),
    "validate": Step(
        function="ml.data.validate:validate",
        takes=(RawSnapshot,),
        help="check schema, labels and drift; write Data Docs",
    ),
    "split": Step(
        function="ml.data.split:split",
        takes=(RawSnapshot, ValidationReport),
        help="divide the rows into train, validation and test",
    ),
    "train": Step(
        function="ml.training.train:train", takes=(Splits,), help="fine-tune the encoder and export the candidate"
    ),
    "evaluate": Step(
        function="ml.judge.evaluate:evaluate",
        takes=(Splits, TrainedModel),
        help="score candidate and champion on the same test rows",
    ),
    "probe": Step(
        function="ml.serve.probe:probe",
        takes=(Comparison,),
        help="serve the candidate in a fresh process, without this code, and see what it costs",
    ),
    "decide": Step(
        function="ml.judge.decide:decide", takes=(Comparison, Probe), help="judge the candidate by the policy"
    ),
    "promote": Step(
        function="ml.champion.promote:promote",
        takes=(Comparison, Decision, Probe),
        help="register the candidate; move the alias if the verdict says so",
    ),
}


def run_step(name: str, config: Config, run: Run, records: Iterable[Record], tracker: Tracker = _NO_TRACKER) -> Record:
    """Run one step on the records that it takes, picked from `records`; raises LineageError if one is missing."""
    step = STEPS[name]
    by_kind = {type(record): record for record in records}
    missing = [kind.__name__ for kind in step.takes if kind not in by_kind]
    if missing:
        raise LineageError(
            f"step {name} was not given a {' and a '.join(missing)}",
            where="--input",
            fix="give it the records that the steps before it printed",
        )
    taken = [by_kind[kind] for kind in step.takes]
    module, _, function = step.function.partition(":")
    with tracker.track(name, config, run, taken) as tracked, _report_if_failed(run, name, taken):
        record: Record = getattr(import_module(module), function)(config, replace(run, observe=tracked.observe), *taken)
        _refuse_large(name, record)
        if isinstance(record, TrainedModel):
            mark_underway(run, record.model)
        report_step(run, taken, record)
        tracked.conclude(record)
    return record


@contextmanager
def _report_if_failed(run: Run, name: str, taken: Sequence[Record]) -> Iterator[None]:
    """Write a verdict that says why if the step fails."""
    try:
        yield
    except Exception as error:
        report_failure(run, name, taken, error)
        raise


def _refuse_large(name: str, record: Record) -> None:
    """Raise LineageError if a record is too large for Airflow's database, which keeps it."""
    size = len(to_json(record).encode())
    if size > WIRE_LIMIT_BYTES:
        raise LineageError(
            f"a {type(record).__name__} of {size} bytes exceeds {WIRE_LIMIT_BYTES}",
            where=f"what the step {name} gives to the next",
            fix="shorten the list that it carries, for example the number of expectations in the suite",
        )


def promote_pending(run: Run, tracker: Tracker = _NO_TRACKER) -> Iterator[str]:
    """Carry out all pending promotions in the order of their first attempts, and yield the run of each.

    Each is the step of its own run, with that run's settings, and leaves a verdict. One that can never be carried out
    is forgotten. Raises the first error at the end, so that it does not stop the promotions behind it.
    """
    from ml.champion.pending_promotions import pending_runs

    errors: list[SincereError] = []
    for run_id in pending_runs(run.store):
        try:
            _promote_one(run, run_id, tracker)
        except SincereError as error:
            errors.append(error)
        yield run_id
    if errors:
        raise errors[0]


def _promote_one(run: Run, run_id: str, tracker: Tracker) -> None:
    from ml.champion.pending_promotions import forget_pending, read_pending

    own = replace(run, run_id=run_id)
    try:
        pending, own = read_pending(run, run_id)
    except PermanentError as error:
        report_failure(own, "promote", (), error)
        forget_pending(own)
        raise
    run_step("promote", pending.config, own, (pending.comparison, pending.decision, pending.probe), tracker)


def run_rollback(run: Run, *, to: str | None, reason: str) -> Rollback:
    """Roll back, and leave a verdict, whatever comes of it."""
    from ml.champion.rollback import roll_back

    with _report_if_failed(run, "rollback", ()):
        rollback = roll_back(run, to=to, reason=reason)
        report_rollback(run, rollback)
    return rollback
