"""The log file of a task that `airflow dags test` runs, where the UI looks for it."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.configuration import conf
from retraining.step.task_log import TaskLog

TI = SimpleNamespace(dag_id="retrain_quora", run_id="manual__1", task_id="train", map_index=-1, try_number=2)
PLACE = "dag_id=retrain_quora/run_id=manual__1/task_id=train/attempt=2.log"


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path))
    assert conf.get("logging", "base_log_folder") == str(tmp_path)
    return tmp_path


def test_lines_stand_where_the_ui_looks_for_them(logs: Path) -> None:
    log = TaskLog(TI)
    log.add("takes: caf\xe9")
    log.add("it broke", "error")
    lines = [json.loads(line) for line in (logs / PLACE).read_text().splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [("takes: caf\xe9", "info"), ("it broke", "error")]


def test_a_log_that_airflow_writes_itself_is_left_alone(logs: Path) -> None:
    (logs / PLACE).parent.mkdir(parents=True)
    (logs / PLACE).write_text("Airflow's own\n")
    TaskLog(TI).add("again")
    assert (logs / PLACE).read_text() == "Airflow's own\n"


def test_a_log_that_cannot_be_written_stops_no_task(logs: Path) -> None:
    (logs / "dag_id=retrain_quora").write_text("a file in the way")
    TaskLog(TI).add("lost")
