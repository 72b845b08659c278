"""The steps of the pipeline, in order: one table for the command line, which the Airflow operator calls.

A step is a function (config, run, *records) -> record. Its module is imported when the step runs, so importing this
table is cheap.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module

from ml.config import Config
from ml.errors import LineageError
from ml.records import Comparison, Decision, Probe, RawSnapshot, Record, Splits, TrainedModel, ValidationReport, to_json
from ml.report.outcome import report_failure, report_step
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
    """Carry out all promotions that wait for the registry, oldest first, and yield the id of each one's run.

    Each promotion is the step `promote` of its own run, with the settings of that run; raises what the step raises.
    A promotion is dropped if the champion is no longer the one that the candidate was compared with.
    """
    from ml.champion.pending import read_pending

    for run_id in run.store.names("pending"):
        pending, own = read_pending(run, run_id)
        run_step("promote", pending.config, own, (pending.comparison, pending.decision, pending.probe), tracker)
        yield run_id
