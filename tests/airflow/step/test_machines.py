"""With several machines the DAG has a task for each; tests/scripts/test_up.py has them train in a real Airflow."""

import runpy
from pathlib import Path

import pytest
from airflow.sdk import DAG
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms
from airflow.serialization.serialized_objects import DagSerialization
from retraining.model import QUORA
from retraining.step.machines import MachineOperator, training_machines

from ml.errors import ConfigError
from tests.airflow.test_operators import _context

PROJECT = Path(__file__).parents[3]
DAG_ID = "retrain_quora"


def load() -> DAG:
    return runpy.run_path(str(PROJECT / "dags" / "retrain_quora.py"))[DAG_ID]


def test_beside_the_leader_is_a_mapped_task_for_each_other_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINCERE_MACHINES", "3")
    dag = load()
    DagSerialization.from_dict(DagSerialization.to_dict(dag))
    train, join = dag.get_task("train"), dag.get_task("join")
    assert isinstance(join, MappedOperator)
    assert (join.upstream_task_ids, join.downstream_task_ids) == ({"split"}, {"verdict"})
    assert [join.unmap(each).worker for each in ({"worker": 1}, {"worker": 2})] == [1, 2]
    for name in ("pool", "queue", "executor_config", "execution_timeout", "retries", "records"):
        assert getattr(join.unmap({"worker": 1}), name) == getattr(train, name)


@pytest.mark.parametrize("told", ["", "1"])
def test_one_machine_has_the_tasks_that_it_had(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("SINCERE_MACHINES", told)
    assert "join" not in load().task_ids


@pytest.mark.parametrize("told", ["0", "two", "1001", "-1"])
def test_what_is_no_number_of_machines_is_an_import_error(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("SINCERE_MACHINES", told)
    with pytest.raises(ConfigError, match="is no number of machines"):
        training_machines(QUORA)


def test_tasks_that_run_one_after_another_are_refused_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    comms = InProcessSupervisorComms(supervisor=None)  # type: ignore[arg-type]
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)
    with pytest.raises(AirflowFailException, match="add --use-executor"):
        MachineOperator.execute.__wrapped__(MachineOperator(machines=2), _context())
