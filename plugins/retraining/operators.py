"""Operators that run a step of the pipeline in its own process, and pass its record to the next task."""

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airflow.sdk import Asset, AssetAlias, BaseOperator, Connection, Context
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
)

from retraining.params import config_overrides, folder_name, run_flags, run_url, trigger
from retraining.process import StepProcess
from retraining.reports import ReportsLink

PROJECT = Path(__file__).resolve().parents[2]
TEMPORARY_FAILURE = 75  # EX_TEMPFAIL of sysexits.h: the registry or the network did not answer

# Failures that raise_for_status allows to retry are retried with back-off; a task may override these values.
TASK_DEFAULTS: dict[str, Any] = {
    "retries": 3,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=30),
    "execution_timeout": timedelta(hours=1),
}

_WANDB = {"wandb_default": {"WANDB_API_KEY": "password"}}

logger = logging.getLogger(__name__)


class StepOperator(BaseOperator):
    """Run `python -m ml STEP` on the records of earlier steps; its own record is the task's XCom.

    The step runs in a fresh process: TensorFlow is never forked, the GPU's memory is free when the step ends, and
    `ML_PYTHON` may name another interpreter. `connections` says which environment variable gets which field of an
    Airflow connection; a connection that is not defined changes nothing. Every step gets the connection to W&B.
    """

    template_fields: Sequence[str] = ("config", "records")
    operator_extra_links = (ReportsLink(),)
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
        super().__init__(task_id=kwargs.pop("task_id", step), **kwargs)
        self.step = step
        self.records = list(records)
        self.config = config
        self.connections = {**_WANDB, **(connections or {})}
        self._running: list[StepProcess] = []

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step; raises AirflowFailException if no retry can help, else AirflowException."""
        with TemporaryDirectory(prefix=f"{self.step}-") as folder:
            output = Path(folder, "output.json")
            command = [*self._command(context, Path(folder)), *self._inputs(Path(folder)), "--output", str(output)]
            raise_for_status(self.step, self._run(command))
            record: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        return record

    def on_kill(self) -> None:
        """End the step's process and its children."""
        for process in self._running:
            process.terminate()

    def _run(self, command: list[str]) -> int:
        try:
            self._running = [StepProcess(command, environment=self._environment(), folder=PROJECT)]
            return self._running[0].follow(lambda line: self.log.info("%s", line))
        except KeyboardInterrupt:  # a terminal's Ctrl-C does not reach the step's own session
            self.on_kill()
            raise AirflowFailException(f"step {self.step} was interrupted") from None

    def _command(self, context: Context, folder: Path) -> list[str]:
        # A file, since every user of the machine can read the command line, and a source may contain a password.
        settings = folder / "config.toml"
        lines = [f"extends = {json.dumps(self.config)}", *config_overrides(context["params"])]
        settings.write_text("\n".join(lines), encoding="utf-8")
        interpreter = os.environ.get("ML_PYTHON", sys.executable)
        flags = run_flags(context["params"])
        return [interpreter, "-m", "ml", self.step, "--config", str(settings), *flags, *_run_identity(context)]

    def _inputs(self, folder: Path) -> list[str]:
        arguments = []
        for number, record in enumerate(self.records):
            path = folder / f"input-{number}.json"
            path.write_text(json.dumps(record), encoding="utf-8")
            arguments += ["--input", str(path)]
        return arguments

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        for conn_id, fields in self.connections.items():
            try:
                connection = Connection.get(conn_id)
            except AirflowNotFoundException:
                continue
            environment |= {name: getattr(connection, field) or "" for name, field in fields.items()}
        return environment


class DetectOperator(StepOperator):
    """The step `detect`; if nothing has changed, the later tasks are skipped and the run is a success."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(step="detect", **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Let the run go on, or raise AirflowSkipException with the reason."""
        change = super().execute(context)
        if not change["changed"]:
            raise AirflowSkipException(change["reason"])
        return change


class PromoteOperator(StepOperator):
    """The step `promote`; the champion's asset gets an event only if the candidate became the champion."""

    def __init__(self, *, champion: Asset, **kwargs: Any) -> None:
        super().__init__(step="promote", outlets=[_promotions(champion)], **kwargs)
        self.champion = champion

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step, log what happened, and add the asset's event if the candidate was promoted."""
        promotion = super().execute(context)
        if promotion["promoted"]:
            version = promotion["candidate"]["version"]
            extra = {"version": version, "decision": promotion["decision"]}
            context["outlet_events"][_promotions(self.champion)].add(self.champion, extra=extra)
            logger.info("promoted: version %s is the champion now", version)
        elif promotion["candidate"]["record"] == "Unregistered":
            logger.info("dry run: the verdict is %s, nothing was written to the registry", promotion["verdict"])
        else:
            logger.info("not promoted: the verdict is %s, the champion stays as it is", promotion["verdict"])
        return promotion


class RollbackOperator(StepOperator):
    """Run `python -m ml rollback`; the champion's asset gets an event, since the alias has moved."""

    def __init__(self, *, champion: Asset, **kwargs: Any) -> None:
        super().__init__(step="rollback", config="", outlets=[champion], **kwargs)

    def _command(self, context: Context, folder: Path) -> list[str]:
        params = context["params"]
        command = [os.environ.get("ML_PYTHON", sys.executable), "-m", "ml", self.step, f"--reason={params['reason']}"]
        if params["version"] is not None:
            command.append(f"--to={params['version']}")
        return [*command, *_run_identity(context)]


def raise_for_status(step: str, status: int) -> None:
    """Raise the exception that makes Airflow retry, or the one that does not; a negative status is a killing signal."""
    if status == 0:
        return
    if status == TEMPORARY_FAILURE:
        again = "promotion pending" if step == "promote" else f"step {step} did not get an answer"
        kind, message = AirflowException, f"{again} (see above); it may be tried again"
    elif status < 0:
        kind, message = (
            AirflowException,
            f"step {step} was killed by signal {-status}; 9 mostly means too little memory",
        )
    else:
        kind, message = AirflowFailException, f"step {step} stopped with status {status}: the lines above say why"
    logger.error(message)
    raise kind(message)


def _run_identity(context: Context) -> list[str]:
    who, where = trigger(context["dag_run"]), run_url(context["ti"])
    return ["--run-id", folder_name(context["run_id"]), f"--triggered-by={who}", f"--run-url={where}"]


def _promotions(champion: Asset) -> AssetAlias:
    return AssetAlias(f"{champion.name}_promotions")
