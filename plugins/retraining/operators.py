"""Operators that run a step of the pipeline in its own process, and pass its record to the next task."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any

from airflow.sdk import Asset, AssetAlias, BaseOperator, Context
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowTaskTimeout,
    DownstreamTasksSkipped,
)

from retraining import PROJECT
from retraining.ending import has_told, tell_end
from retraining.environment import allowed, from_connections
from retraining.notices.notifier import FailureNotifier, Notifier, failure_text
from retraining.outcome.run_outcome import kept_entry, kept_record, leave_note
from retraining.params import (
    ROLLBACK,
    SCORING,
    config_overrides,
    folder_name,
    refuse_unknown,
    run_flags,
    run_name,
    run_url,
    trigger,
)
from retraining.process import StepProcess
from retraining.report_link import ReportLink
from retraining.schedule import NO_BACKFILL, schedule_zone
from retraining.source import output_of, refuse_config, source_of, with_credentials, with_date
from retraining.task_log import TaskLog

TEMPORARY_FAILURE = 75  # EX_TEMPFAIL of sysexits.h: ml/errors.py says what is worth a retry
_OF_A_SHELL = 128  # a shell's status for a program that a signal killed is this and the signal

# Failures that raise_for_status allows to retry are retried with back-off; a task may override these values.
TASK_DEFAULTS: dict[str, Any] = {
    "retries": 3,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=30),
    "execution_timeout": timedelta(hours=1),
}

_TAKES = "takes: "  # how python -m ml STEP begins a line about what it was given
# People are told when a step has ended for good, not after each try.
_CALLBACKS: dict[str, Any] = {
    "on_success_callback": [Notifier()],
    "on_skipped_callback": [Notifier()],
    "on_failure_callback": [FailureNotifier()],
}

_WANDB = {"wandb_default": {"WANDB_API_KEY": "password"}}

logger = logging.getLogger(__name__)


class StepOperator(BaseOperator):
    """Run `python -m ml STEP` on the records of earlier steps; its own record is the task's XCom.

    The step runs in a fresh process: TensorFlow is never forked, the GPU's memory is free when the step ends, and
    `ML_PYTHON` may name another interpreter. `connections` says which environment variable gets which field of an
    Airflow connection; a connection that is not defined changes nothing. Every step gets the connection to W&B.
    `notices` has, as text, what the step left for people to be told.
    """

    template_fields: Sequence[str] = ("config", "records")
    operator_extra_links = (ReportLink(),)
    ui_color = "#dbe7f3"

    def __init__(
        self,
        *,
        step: str,
        records: Sequence[Any] = (),
        config: str = "{{ params.config }}",
        connections: Mapping[str, Mapping[str, str]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(task_id=kwargs.pop("task_id", step), **{**_CALLBACKS, **kwargs})
        self.step = step
        self.records = list(records)
        self.config = config
        self.connections = {**_WANDB, **(connections or {})}
        self.notices = ""
        self._running: list[StepProcess] = []
        self._task_logs: list[TaskLog] = []

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step; raises AirflowFailException if no retry can help, else AirflowException."""
        self._task_logs = [TaskLog(context["ti"])]
        self.notices = ""
        with TemporaryDirectory(prefix=f"{self.step}-") as folder:
            output, notices = Path(folder, "output.json"), Path(folder, "notices")
            command = [*self._allowed_command(context, Path(folder)), *self._inputs(Path(folder))]
            command += ["--notices", str(notices), "--output", str(output)]
            status = self._run(command, context)
            if notices.is_file():
                self.notices = notices.read_text(encoding="utf-8")
            if not has_told(status):
                self._leave_verdict(context, _end_of(self.step, status), status=status)
            self._raise_for_status(status)
            record: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        return record

    def on_kill(self) -> None:
        """End the step's process and its children."""
        for process in self._running:
            process.terminate()

    def _run(self, command: list[str], context: Context) -> int:
        try:
            self._running = [StepProcess(command, environment=self._environment(), folder=PROJECT)]
            return self._running[0].follow(self._tell)
        except OSError as error:
            what = f"step {self.step} cannot be started: {error.strerror}"
            self._leave_verdict(context, _told(what, "ML_PYTHON", "name an interpreter that is there"))
            raise AirflowFailException(f"{what}; see ML_PYTHON") from None
        except KeyboardInterrupt:  # a terminal's Ctrl-C does not reach the step's own session
            self.on_kill()
            self._leave_verdict(context, _told(f"step {self.step} was interrupted", "the terminal", "start a new run"))
            raise AirflowFailException(f"step {self.step} was interrupted") from None
        except AirflowTaskTimeout:
            self._running[0].end()
            fix = "see why it took so long; it may be tried again"
            self._leave_verdict(context, _told(f"step {self.step} exceeded its time limit", "Airflow", fix), status=75)
            raise

    def _environment(self) -> dict[str, str]:
        zone = {"SINCERE_TIMEZONE": schedule_zone()}
        return allowed(os.environ) | from_connections(self.connections) | zone

    def _identity(self, context: Context) -> list[str]:
        return _run_identity(context, folder_name(context["run_id"]))

    def _leave_verdict(self, context: Context, error: Mapping[str, str], *, status: int = 65) -> None:
        """Write the verdict that the step itself could not write."""
        tell_end(self.step, self._identity(context), error, status=status, environment=self._environment())

    def _tell(self, line: str) -> None:
        """Log a line of the step; what it takes are words that the terminal of `make retrain` has had already."""
        (logger if line.startswith(_TAKES) else self.log).info("%s", line)
        self._add_to_log(line)

    def _add_to_log(self, line: str, level: str = "info") -> None:
        for log in self._task_logs:
            log.add(line, level)

    def _raise_for_status(self, status: int) -> None:
        try:
            raise_for_status(self.step, status)
        except AirflowException as error:
            self._add_to_log(str(error), "error")
            raise

    def _allowed_command(self, context: Context, folder: Path) -> list[str]:
        """Return the command; raises AirflowFailException for what a trigger may not ask."""
        from ml.errors import SincereError

        try:
            return self._command(context, folder)
        except SincereError as error:
            logger.error("%s", error)
            self._add_to_log(str(error), "error")
            self._leave_verdict(context, _told(error.what, error.where, error.fix))
            self.notices = failure_text(self.step, error)
            raise AirflowFailException(str(error)) from None

    def _command(self, context: Context, folder: Path) -> list[str]:
        params = dict(context["params"])
        _refuse_backfill(context)
        refuse_unknown(_conf(context))
        refuse_config(params)
        source = source_of(params)
        if source is not None:
            params["source"] = with_credentials(with_date(source, self.get_template_env(), context))
        settings = self._write_settings(folder, config_overrides(params))
        flags = run_flags(params)
        if source is None and context["dag_run"].run_type.value != "manual":
            flags.append("--no-sample")
        return [*_program(), self.step, "--config", str(settings), *flags, *self._identity(context)]

    def _write_settings(self, folder: Path, overrides: Sequence[str]) -> Path:
        """Write a file, since all users of the machine can read the command line, and a source may bear a password."""
        settings = folder / "config.toml"
        settings.write_text("\n".join([f"extends = {json.dumps(self.config)}", *overrides]), encoding="utf-8")
        return settings

    def _inputs(self, folder: Path) -> list[str]:
        arguments = []
        for number, record in enumerate(self.records):
            path = folder / f"input-{number}.json"
            path.write_text(json.dumps(record), encoding="utf-8")
            arguments += ["--input", str(path)]
        return arguments


class EvaluateOperator(StepOperator):
    """The step `evaluate`, given the records of `split` and `train`; its time limit follows from rows and rate.

    A step that exceeds the limit is ended and retried; the scores of each model that it finished are kept.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(step="evaluate", **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step within its time limit."""
        watchdog = Timer(evaluation_seconds(*self.records), self._end_overdue)
        watchdog.start()
        try:
            return super().execute(context)
        finally:
            watchdog.cancel()

    def _end_overdue(self) -> None:
        logger.error("step evaluate took far longer than its rows should take: it is ended")
        self.on_kill()


class DetectOperator(StepOperator):
    """The step `detect`; if nothing has changed, the later steps are skipped and the run is a success.

    They are skipped all at once: Airflow would take a second for each step that is skipped because another was.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(step="detect", **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Let the run go on, or raise DownstreamTasksSkipped with all later steps."""
        change = super().execute(context)
        if not change["changed"]:
            self.log.info("%s", change["reason"])
            later = self.get_flat_relatives(upstream=False)
            steps = [task.task_id for task in later if isinstance(task, StepOperator)]
            raise DownstreamTasksSkipped(tasks=steps)  # type: ignore[no-untyped-call]
        return change


class PromoteOperator(StepOperator):
    """The step `promote`; the champion's asset gets an event only if the candidate became the champion."""

    def __init__(self, *, champion: Asset, **kwargs: Any) -> None:
        # `approve` is skipped where nobody is asked; a run that ends early skips all that promote takes.
        rule = "none_failed_min_one_success"
        super().__init__(step="promote", outlets=[_promotions(champion)], trigger_rule=rule, **kwargs)
        self.champion = champion

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step, and add the asset's event if the candidate was promoted."""
        promotion = super().execute(context)
        if promotion["promoted"]:
            figures = {**self.records[0]["candidate"], "version": promotion["candidate"]["version"]}
            event = context["outlet_events"][_promotions(self.champion)]
            event.add(self.champion, extra=champion_extra(context, "promoted", figures))
        return promotion


class RollbackOperator(StepOperator):
    """Run `python -m ml rollback`; the champion's asset gets an event, since the alias has moved."""

    def __init__(self, *, champion: Asset, **kwargs: Any) -> None:
        super().__init__(step="rollback", config="", outlets=[champion], **kwargs)
        self.champion = champion

    def execute(self, context: Context) -> dict[str, Any]:
        """Roll back, and say in the asset's event which version is the champion again."""
        with _noted(context, folder_name(context["run_id"])):
            rollback = super().execute(context)
        extra = champion_extra(context, "rolled back", kept_entry(context["run_id"], "rollback"))
        context["outlet_events"][self.champion].extra = extra
        return rollback

    def _command(self, context: Context, folder: Path) -> list[str]:
        params = context["params"]
        refuse_unknown(_conf(context), ROLLBACK)
        command = [*_program(), self.step, f"--reason={params['reason']}", *run_flags({"force": params.get("force")})]
        if params["version"] is not None:
            command.append(f"--to={params['version']}")
        return [*command, *self._identity(context)]


class ScoreOperator(StepOperator):
    """Run `python -m ml score` on the questions that the trigger or production names."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(step="score", **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step, and leave the run's note."""
        with _noted(context, run_name(self.dag_id, context["run_id"])):
            return super().execute(context)

    def _command(self, context: Context, folder: Path) -> list[str]:
        params = context["params"]
        _refuse_backfill(context)
        refuse_unknown(_conf(context), SCORING)
        refuse_config(params)
        named = {"source.uri": source_of(params, "questions"), "score.output": output_of(params)}
        filled = {
            setting: with_credentials(with_date(value, self.get_template_env(), context))
            for setting, value in named.items()
            if value is not None
        }
        settings = self._write_settings(folder, [f"{name} = {json.dumps(value)}" for name, value in filled.items()])
        return [*_program(), self.step, "--config", str(settings), *run_flags(params), *self._identity(context)]

    def _identity(self, context: Context) -> list[str]:
        return _run_identity(context, run_name(self.dag_id, context["run_id"]))


@contextmanager
def _noted(context: Context, reports: str) -> Iterator[None]:
    """Leave the run's note when the step has ended, however it did; `reports` is the name of the run's folder."""
    try:
        yield
    finally:
        for told in filter(None, [kept_record(reports, "RunOutcome")]):
            leave_note(context["ti"], told)


def raise_for_status(step: str, status: int) -> None:
    """Raise the exception that makes Airflow retry, or the one that does not; a negative status is a killing signal."""
    if status == 0:
        return
    killed_by = _signal(status)
    if status == TEMPORARY_FAILURE:
        again = "promotion pending" if step == "promote" else f"step {step} met trouble that may pass"
        kind, message = AirflowException, f"{again} (see above); it may be tried again"
    elif killed_by:
        kind, message = (
            AirflowException,
            f"step {step} was killed by signal {killed_by}; 9 mostly means too little memory",
        )
    else:
        kind, message = AirflowFailException, f"step {step} stopped with status {status}: the lines above say why"
    logger.error(message)
    raise kind(message)


def _told(what: str, where: str, fix: str) -> Mapping[str, str]:
    return {"what": what, "where": where, "fix": fix}


def _end_of(step: str, status: int) -> Mapping[str, str]:
    """Say how a step ended that could not say it itself."""
    if _signal(status):
        return _told(
            f"step {step} was killed by signal {_signal(status)}; 9 mostly means too little memory",
            "the machine that it ran on",
            "it may be tried again; if it is killed again, give it more memory or smaller batches",
        )
    return _told(f"step {step} stopped with status {status}", "its process", "see the log of its task")


def _signal(status: int) -> int:
    """Return the signal that killed a process, which a shell says in its own way; 0 if none did."""
    return -status if status < 0 else max(status - _OF_A_SHELL, 0)


def evaluation_seconds(splits: Mapping[str, Any], trained: Mapping[str, Any]) -> float:
    """Return the time limit of an evaluation: an hour, and four times a training on the test rows.

    Scoring a row takes about a third of training on it, and there are two models.
    """
    rows = sum(part["rows"] for part in splits["parts"] if part["name"] == "test")
    return 3600 + 4 * float(rows / max(trained["examples_per_second"], 0.01))


def champion_extra(context: Context, verdict: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an event of the champion's asset says: version, figures on its test rows, verdict, and the page."""
    told = {name: figures[name] for name in ("version", "precision", "recall")}
    return {**told, "verdict": verdict, "report": f"{run_url(context['ti'])}/plugin/report"}


def _program() -> list[str]:
    return [os.environ.get("ML_PYTHON") or sys.executable, "-m", "ml"]


def _refuse_backfill(context: Context) -> None:
    from ml.errors import ConfigError

    if context["dag_run"].run_type.value == "backfill":
        raise ConfigError(NO_BACKFILL, where="the backfill", fix="cancel it; trigger a run, or wait for the schedule")


def _conf(context: Context) -> Mapping[str, Any]:
    """Return what whoever triggered the run asked for."""
    return getattr(context["dag_run"], "conf", None) or {}


def _run_identity(context: Context, name: str) -> list[str]:
    who, where = trigger(context["dag_run"]), run_url(context["ti"])
    return ["--run-id", name, f"--triggered-by={who}", f"--run-url={where}"]


def _promotions(champion: Asset) -> AssetAlias:
    return AssetAlias(f"{champion.name}_promotions")
