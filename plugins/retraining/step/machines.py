"""The tasks that train together on several machines: `train` on the leader, `join` on each of the others."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import Context

from retraining.model import Model
from retraining.source import shown_setting
from retraining.step.step_operator import StepOperator

_MOST = 1000


def training_machines(model: Model) -> int:
    """Return on how many machines a model is trained: SINCERE_MACHINES, or Airflow's Variable; 1 without.

    Raises ConfigError for anything else: the DAG then has an import error that says so.
    """
    from ml.errors import ConfigError

    told = (shown_setting("machines", model) or "1").strip()
    if not told.isascii() or not told.isdecimal() or not 1 <= int(told[:9]) <= _MOST:
        raise ConfigError(
            f"{told[:60]!r} is no number of machines", where=model.told_by("machines"), fix=f"write 1 to {_MOST}"
        )
    return int(told)


class MachineOperator(StepOperator):
    """The step `train`, or as machine `worker` of several from 1 on, `join`; the leader tells of the end of both."""

    def __init__(self, *, machines: int = 1, worker: int = 0, **kwargs: Any) -> None:
        super().__init__(step="join" if worker else "train", **kwargs)
        self.machines, self.worker = machines, worker

    def _command(self, context: Context, folder: Path) -> list[str]:
        if self.machines > 1:
            _refuse_one_after_another()
        number = [f"--worker={self.worker}"] if self.worker else []
        return [*super()._command(context, folder), *number]

    def _write_settings(self, folder: Path, overrides: Sequence[str]) -> Path:
        together = [f"train.machines = {self.machines}"] if self.machines > 1 else []
        return super()._write_settings(folder, [*overrides, *together])

    def _leave_verdict(self, context: Context, error: Mapping[str, str], *, status: int = 65) -> None:
        if not self.worker:
            super()._leave_verdict(context, error, status=status)


def _refuse_one_after_another() -> None:
    """Raise ConfigError under `airflow dags test`, unless it uses an executor: its tasks would wait for each other."""
    from airflow.sdk.execution_time import task_runner

    from ml.errors import ConfigError

    if type(getattr(task_runner, "SUPERVISOR_COMMS", None)).__name__ == "InProcessSupervisorComms":
        raise ConfigError(
            "machines that train together cannot run one after another",
            where="airflow dags test",
            fix="add --use-executor, trigger the DAG, or unset SINCERE_MACHINES",
        )
