"""A run that takes too long is told about, once, and the alert stands in nobody's way."""

import logging
import runpy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from retraining.notices.deadline import late_hours, tell_late

PROJECT = Path(__file__).parents[3]


def _context(state: str) -> dict[str, Any]:
    """What Airflow 3.3.2 gives to the callback of a deadline, as far as it is used."""
    run = {"dag_id": "retrain_quora", "dag_run_id": "manual__1+1", "state": state, "run_after": "2026-11-25T21:40:04Z"}
    return {"dag_run": run, "deadline": {"id": "1", "deadline_time": "2026-11-26 21:40:04+00:00"}}


@pytest.mark.parametrize("state", ["running", "queued"])
def test_a_run_underway_is_told(state: str, caplog: pytest.LogCaptureFixture) -> None:
    tell_late(_context(state), "quora")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message.split("\n") == [
        "Late: the run manual__1+1 has not ended by its deadline",
        "Why: a task takes long, or waits for a slot, a retry or a person",
        "Figures: due from 2026-11-25 21:40 UTC, deadline 2026-11-26 21:40 UTC",
        "What to do: see which task of the run goes on or waits, and read its log",
        "Where: http://localhost:8080/dags/retrain_quora/runs/manual__1%2B1",
    ]


def test_a_run_that_has_failed_before_its_deadline_is_not_late(caplog: pytest.LogCaptureFixture) -> None:
    tell_late(_context("failed"), "quora")
    assert caplog.records == []


@pytest.mark.parametrize(("setting", "hours"), [(None, 24.0), ("", 24.0), ("36", 36.0), ("0.5", 0.5)])
def test_the_interval_is_a_setting(setting: str | None, hours: float, caplog: pytest.LogCaptureFixture) -> None:
    assert late_hours(setting) == hours
    assert caplog.records == []


@pytest.mark.parametrize("setting", ["0", "-1", "a day", "nan", "inf", "1e300"])
def test_an_interval_that_is_none_is_one_warning(setting: str, caplog: pytest.LogCaptureFixture) -> None:
    assert late_hours(setting) == 24.0
    assert caplog.messages == ["SINCERE_LATE_HOURS is no number of hours above 0: 24.0 hours are taken"]


def test_the_dag_has_the_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINCERE_LATE_HOURS", "36")
    dag: DAG = runpy.run_path(str(PROJECT / "dags" / "retrain_quora.py"))["retrain_quora"]
    (alert,) = dag.deadline
    assert (alert.interval, alert.callback.path) == (timedelta(hours=36), "retraining.notices.deadline.tell_late")
    assert alert.callback.kwargs == {"model": "quora"}
