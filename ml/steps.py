"""The steps of the pipeline, in order: one table for the command line, which the Airflow operator calls.

A step is a function (config, run, *records) -> record. Its module is imported when the step runs, so importing this
table is cheap.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import cast

from ml.champion.retention import mark_underway
from ml.config import Config, RetentionConfig, config_digest
from ml.errors import Interrupted, LineageError, PermanentError, SincereError, foreseen
from ml.fingerprint import inputs_of
from ml.records import (
    Answer,
    Change,
    Comparison,
    Decision,
    Joined,
    NoAnswer,
    NoChampion,
    Probe,
    Promotion,
    Question,
    RawSnapshot,
    Record,
    Rollback,
    Splits,
    StepCosts,
    StepTimes,
    ToldSettings,
    TrainedModel,
    ValidationReport,
    digest,
    read_any,
    to_json,
)
from ml.registry import CHAMPION_ALIAS
from ml.report.after_step import report_failure, report_rollback, report_step
from ml.report.rollback_choices import write_rollback_choices
from ml.report.words.record_words import words_of
from ml.run import Run
from ml.store.files import write_whole
from ml.tracking import NoTracker, Tracker

WIRE_LIMIT_BYTES = 65_536

_BYTES_PER_KIB = 1024
_NO_TRACKER = NoTracker()

logger = logging.getLogger(__name__)


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
        function="ml.judge.repeated_run:detect",
        takes=(RawSnapshot,),
        help="see whether CSV, settings or code differ from those of all runs judged beside the champion",
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


# What is no part of a retraining, but runs as a step does: by the command line and by Airflow's operator.
OTHER_STEPS: dict[str, Step] = {
    "score": Step(
        function="ml.scoring.score:score",
        takes=(),
        help="score a CSV or Parquet file with the champion, and watch over its questions",
    ),
}


def run_step(name: str, config: Config, run: Run, records: Iterable[Record], tracker: Tracker = _NO_TRACKER) -> Record:
    """Run one step on the records that it takes, picked from `records`; raises LineageError if one is missing."""
    step = (STEPS | OTHER_STEPS)[name]
    taken = _picked(name, step.takes, records)
    module, _, function = step.function.partition(":")
    began, before = time.time(), _cost_so_far(name)
    with tracker.track(name, config, run, taken) as tracked, report_if_failed(run, name, taken):
        record: Record = getattr(import_module(module), function)(config, replace(run, observe=tracked.observe), *taken)
        _refuse_large(name, record)
        if isinstance(record, TrainedModel):
            mark_underway(run, record.model)
        report_step(run, taken, record)
        run.keep_for_page(StepTimes(step=name, began=began, ended=time.time()), name=f"times/{name}")
        after = _cost_so_far(name)
        costs = replace(after, written_bytes=after.written_bytes - before.written_bytes)
        run.keep_for_page(costs, name=f"costs/{name}")
        if isinstance(record, Promotion) and record.promoted:
            write_rollback_choices(run, config.retention.predecessors)
        tracked.conclude(record)
    logger.info("gives: %s", words_of(record))
    return record


def _cost_so_far(step: str) -> StepCosts:
    """Return what this process has written and held so far; Linux counts it, and elsewhere it is nothing."""
    return StepCosts(
        step=step,
        written_bytes=_counted("io", "wchar"),
        peak_memory_bytes=_counted("status", "VmHWM") * _BYTES_PER_KIB,
    )


def _counted(file: str, name: str) -> int:
    path = Path("/proc/self", file)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _picked(step: str, kinds: Iterable[type], records: Iterable[Record]) -> list[Record]:
    """Return a record of each kind; raises LineageError if one is missing."""
    by_kind = {type(record): record for record in records}
    if missing := [kind.__name__ for kind in kinds if kind not in by_kind]:
        raise LineageError(
            f"step {step} was not given a {' and a '.join(missing)}",
            where="--input",
            fix="give it the records that the steps before it printed",
        )
    return [by_kind[kind] for kind in kinds]


def run_all(config: Config, run: Run, tracker: Tracker = _NO_TRACKER, *, for_page: Sequence[ToldSettings] = ()) -> None:
    """Run all steps. A run of the same name that came to no end goes on from its records; one that did stays as it is.

    What is given `for_page` is kept for the page of a run that has work to do.

    A step's record stands beside the run's reports, and is taken again while settings, suites, code and the records
    before it are the same; up to the decision, the champion too.
    """
    with report_if_failed(run, "snapshot"):
        kept = _KeptRecords(config, run)
        if kept.is_concluded():
            logger.info("run %s has come to its end; a new one needs another --run-id", run.run_id)
            return
        kept.drop_those_of_another_champion()
        for each in for_page:
            run.keep_for_page(each)
    records: list[Record] = []
    for number, name in enumerate(STEPS, start=1):
        logger.info("[%d/%d] %s: %s", number, len(STEPS), name, STEPS[name].help)
        record = next(kept.find(name, records), None) or run_step(name, config, run, records, tracker)
        with report_if_failed(run, f"{name} (its record)"):
            kept.keep(name, records, record)
        if isinstance(record, Change) and not record.changed:
            return
        records.append(record)


class _KeptRecords:
    """What the steps of a run gave, as files beside its reports; a dry run has its own."""

    def __init__(self, config: Config, run: Run) -> None:
        self._run = run
        self._folder = run.report_folder / ("records-of-dry-run" if run.dry_run else "records")
        self._settings = [config_digest(config), digest(inputs_of(config, "", NoChampion())), run.force]

    def is_concluded(self) -> bool:
        """Whether the run came to an end, whatever it was given then."""
        changes = [change for change in self._read("detect") if isinstance(change, Change)]
        return any(not change.changed for change in changes) or any(self._read("promote"))

    def drop_those_of_another_champion(self) -> None:
        """A decision that was made is carried out; before it, a champion that has moved is to be compared with."""
        changes = [change for change in self._read("detect") if isinstance(change, Change)]
        if any(self._read("decide")) or not changes:
            return
        if self._run.registry.resolve(CHAMPION_ALIAS) != changes[0].champion:
            for name in STEPS:
                self._path(name).unlink(missing_ok=True)

    def find(self, step: str, records: Sequence[Record]) -> Iterator[Record]:
        """The step's record, if it was made from these records and settings."""
        if self._texts(step)[:1] == [self._key(step, records)]:
            yield from self._read(step)

    def keep(self, step: str, records: Sequence[Record], record: Record) -> None:
        """Put a step's record beside the reports."""
        write_whole(self._path(step), f"{self._key(step, records)}\n{to_json(record)}\n")

    def _read(self, step: str) -> Iterator[Record]:
        for text in self._texts(step)[1:2]:
            with suppress(LineageError):  # one that was damaged is made again
                yield read_any(text)

    def _texts(self, step: str) -> list[str]:
        path = self._path(step)
        return path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []

    def _path(self, step: str) -> Path:
        return self._folder / step

    def _key(self, step: str, records: Sequence[Record]) -> str:
        decided_by = json.dumps([step, *self._settings, *map(digest, records)])
        return hashlib.sha256(decided_by.encode()).hexdigest()


@contextmanager
def report_if_failed(run: Run, step: str, taken: Sequence[Record] = ()) -> Iterator[None]:
    """A step that fails leaves a verdict that says why; what was foreseen becomes an error of ours."""
    try:
        yield
    except KeyboardInterrupt:
        how = "start the same run again: it goes on from what is kept"
        _report(run, step, taken, Interrupted("the process was asked to end", where="this machine", fix=how))
        raise
    except Exception as error:
        ours = next(foreseen(error, run.reports.parent), error)
        _report(run, step, taken, ours)
        if ours is error:
            raise
        raise ours from None


def _report(run: Run, step: str, taken: Sequence[Record], error: Exception) -> None:
    """On a full disk there may be no room for the verdict either."""
    try:
        report_failure(run, step, taken, error)
    except OSError as trouble:
        logger.warning("the verdict could not be written: %s", trouble.strerror)


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


def run_approval(
    config: Config, run: Run, records: Iterable[Record], tracker: Tracker = _NO_TRACKER
) -> Decision | Question:
    """Return the question for a person, or, given an answer among the records, the decision with the answer in it.

    A decision about which an answer changes nothing is returned as it is. Raises LineageError if a record is missing.
    """
    from ml.champion.approval import conclude, is_open, rejections
    from ml.report.words.question import question

    taken = _picked("approve", (Comparison, Decision, Probe), records)
    comparison, decision, probe = cast(tuple[Comparison, Decision, Probe], tuple(taken))
    with tracker.track("approve", config, run, taken) as tracked, report_if_failed(run, "approve", taken):
        if not is_open(run, decision):
            return decision
        answers = [*rejections(run), *(record for record in records if isinstance(record, Answer | NoAnswer))]
        if not answers:
            return question(run, comparison, decision)
        concluded = conclude(run, comparison, decision, probe, answers[0])
        report_step(run, taken, concluded)
        tracked.conclude(concluded)
    return concluded


def run_join(config: Config, run: Run, records: Iterable[Record], *, number: int) -> Joined:
    """Take part, as worker `number`, in a training that another machine leads: that one leaves model and verdict."""
    from ml.training.train import join

    (splits,) = _picked("join", (Splits,), records)
    joined = join(config, run, cast(Splits, splits), number)
    logger.info("gives: %s", words_of(joined))
    return joined


def run_rollback(run: Run, *, to: str | None, reason: str) -> Rollback:
    """Roll back, and leave a verdict, whatever comes of it."""
    from ml.champion.rollback import roll_back

    with report_if_failed(run, "rollback"):
        rollback = roll_back(run, to=to, reason=reason)
        report_rollback(run, rollback)
        write_rollback_choices(run, RetentionConfig().predecessors)
    return rollback
