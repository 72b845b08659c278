"""The DAG `clean_up`: when it runs, what its form asks, and that its task removes what nobody needs."""

import runpy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, CronTriggerTimetable
from airflow.sdk.exceptions import AirflowFailException
from retraining.dags import cleaning_dag
from retraining.model import Model

from tests.airflow.test_operators import _context
from tests.keeping.homes import age, promoted, put

PROJECT = Path(__file__).parents[2]
FREE = ("snapshots", "a" * 64)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SINCERE_REGISTRY", raising=False)
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path / "logs"))
    logs = tmp_path / "logs" / "dag_id=retrain_quora" / "run_id=a" / "task_id=train"
    logs.mkdir(parents=True)
    (logs / "attempt=1.log").write_text("an old line")
    put(promoted(tmp_path / "home", "one"), *FREE)
    age(tmp_path, 100)
    return tmp_path / "home"


def _load() -> DAG:
    dag: DAG = runpy.run_path(str(PROJECT / "dags" / "clean_up.py"))["clean_up"]
    return dag


def _run(dag: DAG, **params: Any) -> dict[str, Any]:
    task = dag.get_task("gc")
    task.config = "local"
    record: dict[str, Any] = type(task).execute.__wrapped__(task, _context(**params))
    return record


def _log(home: Path) -> str:
    """What Airflow's UI shows as the log of the task."""
    return "".join(path.read_text() for path in (home.parent / "logs").rglob("*.log"))


def _removed(record: dict[str, Any]) -> dict[str, int]:
    return {each["kind"]: each["number"] for each in record["removed"] if each["number"]}


def test_it_runs_once_a_week_in_the_schedules_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINCERE_TIMEZONE", "Europe/Berlin")
    dag = _load()
    weekly = CronTriggerTimetable("0 3 * * 3", timezone="Europe/Berlin")
    assert (dag.schedule, dag.catchup, dag.max_active_runs, dag.tags) == (weekly, False, 1, {"quora", "cleaning"})


def test_its_task_is_light_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SINCERE_TIMEZONE", raising=False)
    (task,) = _load().tasks
    assert (task.task_id, task.pool, task.queue, task.retries) == ("gc", "default_pool", "default", 3)
    assert task.execution_timeout == timedelta(hours=1)
    assert list(_load().params) == ["config", "dry_run"]


def test_the_task_removes_what_nobody_needs_and_airflows_old_logs(home: Path) -> None:
    record = _run(_load())
    assert _removed(record) == {"snapshots": 1, "logs": 1}
    assert not (home / "store" / "snapshots" / FREE[1]).exists()
    assert f"went: snapshots/{FREE[1]}" in _log(home)


def test_a_dry_run_says_it_and_removes_nothing(home: Path) -> None:
    record = _run(_load(), dry_run=True)
    assert record["dry_run"]
    assert (home / "store" / "snapshots" / FREE[1]).exists()
    assert f"would go: snapshots/{FREE[1]}" in _log(home)


def test_another_models_dag_cleans_its_own_home_and_leaves_the_logs(home: Path) -> None:
    toxic = home / "models" / "toxic"
    put(promoted(toxic, "one"), *FREE)
    age(toxic, 100)
    assert _removed(_run(cleaning_dag("clean_up_toxic", Model("toxic")))) == {"snapshots": 1}
    assert (home / "store" / "snapshots" / FREE[1]).exists()


def test_a_damaged_history_waits_for_a_person_and_nothing_goes(home: Path) -> None:
    (home / "registry" / "history.jsonl").unlink()
    with pytest.raises(AirflowFailException):
        _run(_load())
    assert (home / "store" / "snapshots" / FREE[1]).exists()


def test_what_is_no_param_is_refused(home: Path) -> None:
    task = _load().get_task("gc")
    context = _context()
    context["dag_run"].conf = {"keep_days": 1}
    task.config = "local"
    with pytest.raises(AirflowFailException, match="unknown key 'keep_days'"):
        type(task).execute.__wrapped__(task, context)
