"""The operator that runs a step of the pipeline in its own process, and passes its record to the next task."""

import json
import logging
import os
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airflow.sdk import BaseOperator, BaseOperatorLink, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout

from retraining import PROJECT
from retraining.model import Model, model_of_task
from retraining.notices.notifier import FailureNotifier, Notifier, failure_text
from retraining.params import config_overrides, folder_name, refuse_unknown, run_flags, run_url, trigger
from retraining.report_link import ReportLink
from retraining.schedule import NO_BACKFILL, schedule_zone
from retraining.source import refuse_config, source_of, with_credentials, with_date
from retraining.step.ending import tell_end
from retraining.step.environment import allowed, from_connections, store_connections
from retraining.step.exit_status import end_of, has_told, raise_for_status, told
from retraining.step.figures import emit
from retraining.step.process import StepProcess
from retraining.step.task_log import TaskLog

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
    operator_extra_links: Collection[BaseOperatorLink] = (ReportLink(),)
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
            began = time.monotonic()
            status = self._run(command, context)
            seconds = time.monotonic() - began
            if notices.is_file():
                self.notices = notices.read_text(encoding="utf-8")
            if not has_told(status):
                self._leave_verdict(context, end_of(self.step, status), status=status)
            self._raise_for_status(status)
            record: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        emit(self.step, self.model, seconds, record)
        return record

    @property
    def model(self) -> Model:
        """The model that the task's DAG is about."""
        return model_of_task(self)

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
            self._leave_verdict(context, told(what, "ML_PYTHON", "name an interpreter that is there"))
            raise AirflowFailException(f"{what}; see ML_PYTHON") from None
        except KeyboardInterrupt:  # a terminal's Ctrl-C does not reach the step's own session
            self.on_kill()
            self._leave_verdict(context, told(f"step {self.step} was interrupted", "the terminal", "start a new run"))
            raise AirflowFailException(f"step {self.step} was interrupted") from None
        except AirflowTaskTimeout:
            self._running[0].end()
            fix = "see why it took so long; it may be tried again"
            self._leave_verdict(context, told(f"step {self.step} exceeded its time limit", "Airflow", fix), status=75)
            raise

    def _environment(self) -> dict[str, str]:
        zone = {"SINCERE_TIMEZONE": schedule_zone()}
        environment = self.model.environment(os.environ)
        connections = {**self.connections, **store_connections(environment)}
        return allowed(environment) | from_connections(connections) | zone

    def _identity(self, context: Context) -> list[str]:
        return run_identity(context, folder_name(context["run_id"]))

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
            self._leave_verdict(context, told(error.what, error.where, error.fix))
            self.notices = failure_text(self.step, error)
            raise AirflowFailException(str(error)) from None

    def _command(self, context: Context, folder: Path) -> list[str]:
        params = dict(context["params"])
        refuse_backfill(context)
        refuse_unknown(conf_of(context))
        refuse_config(params, self.model)
        source = source_of(params, model=self.model)
        if source is not None:
            params["source"] = with_credentials(with_date(source, self.get_template_env(), context))
        settings = self._write_settings(folder, config_overrides(params))
        flags = run_flags(params)
        if source is None and context["dag_run"].run_type.value != "manual":
            flags.append("--no-sample")
        return [*program(), self.step, "--config", str(settings), *flags, *self._identity(context)]

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


def program() -> list[str]:
    """Return the words that begin each command."""
    return [os.environ.get("ML_PYTHON") or sys.executable, "-m", "ml"]


def refuse_backfill(context: Context) -> None:
    """Raise ConfigError for a run of a backfill."""
    from ml.errors import ConfigError

    if context["dag_run"].run_type.value == "backfill":
        raise ConfigError(NO_BACKFILL, where="the backfill", fix="cancel it; trigger a run, or wait for the schedule")


def conf_of(context: Context) -> Mapping[str, Any]:
    """Return what whoever triggered the run asked for."""
    return getattr(context["dag_run"], "conf", None) or {}


def run_identity(context: Context, name: str) -> list[str]:
    """Return the options that name the run, who started it, and its page."""
    who, where = trigger(context["dag_run"]), run_url(context["ti"])
    return ["--run-id", name, f"--triggered-by={who}", f"--run-url={where}"]
