"""With several machines the DAG has a task for each, which train together in a real Airflow."""

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from ml.source.sample import write_sample
from tests.airflow.step.test_figures import listening
from tests.airflow.test_operators import _context
from tests.live import Airflow, running_airflow, until
from tests.tiny import write_tiny_config

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


@pytest.fixture(scope="module")
def figures() -> dict[tuple[str, ...], float]:
    """What Airflow's tasks have told by OpenTelemetry."""
    return {}


@pytest.fixture(scope="module")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, python: str, figures: dict[tuple[str, ...], float]
) -> Iterator[Airflow]:
    folder = tmp_path_factory.mktemp("machines")
    write_sample(folder / "questions.csv", rows=1500, seed=1)
    told = {"ML_PYTHON": python, "SINCERE_MACHINES": "2", "SINCERE_ADDRESS": "127.0.0.1"}
    told |= {"SINCERE_SOURCE": str(folder / "questions.csv")}
    told |= {"SINCERE_CONFIG": str(write_tiny_config(folder)), "AIRFLOW__METRICS__OTEL_ON": "True"}
    told |= {"SINCERE_LOG_FORMAT": "json", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    with listening(figures) as port:
        address = f"http://127.0.0.1:{port}/v1/metrics"
        with running_airflow(folder, **told, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=address) as airflow:
            yield airflow


RUN = f"/api/v2/dags/{DAG_ID}/dagRuns/first"


@pytest.fixture(scope="module")
def tasks(airflow: Airflow) -> dict[tuple[str, int], str]:
    """The states of the tasks of a run that has ended, by id and number."""
    room = {"pool": "gpu", "slots": 2, "description": "two machines", "include_deferred": False}
    airflow.call("PATCH", "/api/v2/pools/gpu", **room).raise_for_status()
    airflow.call("PATCH", f"/api/v2/dags/{DAG_ID}", is_paused=False).raise_for_status()
    started = airflow.call("POST", f"/api/v2/dags/{DAG_ID}/dagRuns", dag_run_id="first", logical_date=None)
    started.raise_for_status()

    def over() -> Any:
        return airflow.get(RUN)["state"] in ("success", "failed")

    until(over, seconds=600, what="the run's end", told=airflow.said)
    tasks = airflow.get(f"{RUN}/taskInstances")["task_instances"]
    return {(each["task_id"], each["map_index"]): each["state"] for each in tasks}


def test_airflow_starts_all_machines_at_once_and_they_train_one_model(
    airflow: Airflow, tasks: dict[tuple[str, int], str]
) -> None:
    assert (tasks["train", -1], tasks["join", 0], tasks["promoted", -1]) == ("success",) * 3, airflow.said()
    told = airflow.get(f"{RUN}/taskInstances/join/xcomEntries/return_value?map_index=0&deserialize=true")["value"]
    told = json.loads(told) if isinstance(told, str) else told
    assert (told["record"], told["worker"], told["machines"]) == ("Joined", 1, 2)


@pytest.mark.usefixtures("tasks")
def test_its_tasks_tell_their_figures_by_opentelemetry(figures: dict[tuple[str, ...], float]) -> None:
    labels = {label for name in figures if name[0] == "airflow.sincere.step.seconds" for label in name[1:]}
    assert labels >= {"quora", "snapshot", "train", "join", "decide", "promote"}
    assert figures["airflow.sincere.verdicts", "promote", "quora"] == 1
    assert figures["airflow.sincere.alarms", "quora"] == 0


@pytest.mark.usefixtures("tasks")
def test_a_variable_makes_each_line_of_a_step_an_object_with_the_run(airflow: Airflow) -> None:
    (file,) = (airflow.logs / f"dag_id={DAG_ID}" / "run_id=first" / "task_id=split").glob("*.log")
    events = [json.loads(line)["event"] for line in file.read_text(encoding="utf-8").splitlines()]
    told = [json.loads(event) for event in events if event.startswith("{")]
    assert told
    assert {(each["command"], each["run_id"]) for each in told} == {("split", "first")}
