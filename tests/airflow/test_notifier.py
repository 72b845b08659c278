"""The champion's alarm: the task `decide` sends it, with the alarms of the decision."""

import logging
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from retraining.notifier import ChampionAlarm

PROJECT = Path(__file__).parents[2]


def _context(*alarms: str) -> dict[str, object]:
    """Make the context that Airflow gives to a callback of the task `decide`."""
    decisions = {"decide": {"record": "Decision", "verdict": "keep", "alarms": list(alarms)}}
    task = SimpleNamespace(task_id="decide", xcom_pull=lambda task_ids: decisions[task_ids])
    return {"ti": task}


def test_every_alarm_is_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        ChampionAlarm().notify(_context("champion v1: recall 0.3500 is under 0.4000"))
    assert [record.message for record in caplog.records] == ["ALARM: champion v1: recall 0.3500 is under 0.4000"]


def test_a_strong_champion_raises_no_alarm(caplog: pytest.LogCaptureFixture) -> None:
    ChampionAlarm().notify(_context())
    assert caplog.records == []


def test_the_decision_raises_it_whatever_the_verdict() -> None:
    dag = runpy.run_path(str(PROJECT / "dags" / "retrain_quora.py"))["retrain_quora"]()
    callbacks = {task.task_id: list(task.on_success_callback or ()) for task in dag.tasks}
    assert [type(callback) for callback in callbacks.pop("decide")] == [ChampionAlarm]
    assert not any(callbacks.values())
