"""The pipeline's steps, in order: one table that the command line and the Airflow operator both read.

A step is a function (config, run, *records it takes) -> the record it gives. A code path is imported
only when its step runs, so that reading this table costs nothing.
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
from ml.report.outcome import report_failure, report_rollback, report_step
from ml.run import Run
from ml.tracking import NoTracker, Tracker

WIRE_LIMIT_BYTES = 65_536

_UNSEEN = NoTracker()


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where a step's code is, which records it takes, and what it is for."""

    function: str
    takes: tuple[type, ...]
    help: str


STEPS: dict[str, Step] = {
    "snapshot": Step(
        function="ml.source.snapshot:snapshot", takes=(), help="pull the CSV and keep it under its sha256"
    ),
    "detect": Step(
        function="ml.judge.changes:detect",
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


def run_step(name: str, config: Config, run: Run, records: Iterable[Record], tracker: Tracker = _UNSEEN) -> Record:
    """Run one step on those of the given records that it takes; raises LineageError if one is missing."""
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
    with tracker.track(name, config, run, taken) as tracked, _told(run, name, taken):
        record: Record = getattr(import_module(module), function)(config, replace(run, observe=tracked.observe), *taken)
        _refuse_large(name, record)
        if isinstance(record, TrainedModel):
            mark_underway(run, record.model)
        report_step(run, taken, record)
        tracked.conclude(record)
    return record


@contextmanager
def _told(run: Run, name: str, taken: Sequence[Record]) -> Iterator[None]:
    """A step that fails leaves a verdict that says why."""
    try:
        yield
    except Exception as error:
        report_failure(run, name, taken, error)
        raise


def _refuse_large(name: str, record: Record) -> None:
    """Records stay small: they are kept in Airflow's database."""
    size = len(to_json(record).encode())
    if size > WIRE_LIMIT_BYTES:
        raise LineageError(
            f"a {type(record).__name__} of {size} bytes exceeds {WIRE_LIMIT_BYTES}",
            where=f"what the step {name} gives to the next",
            fix="shorten the list that it carries, for example the number of expectations in the suite",
        )


def promote_pending(run: Run, tracker: Tracker = _UNSEEN) -> Iterator[str]:
    """Carry out all promotions that wait for the registry, the first that came first, and give each one's run.

    Each is the step of its own run, with that run's settings, and leaves a verdict. One that can never be carried out
    waits no more. Raises the first error in the end: it stops none of those behind it.
    """
    from ml.champion.pending import pending_runs

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
    from ml.champion.pending import forget_pending, read_pending

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

    with _told(run, "rollback", ()):
        rollback = roll_back(run, to=to, reason=reason)
        report_rollback(run, rollback)
    return rollback
