"""A run that takes too long is told about: SINCERE_LATE_HOURS after its time, by Airflow's deadline alerts."""

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import DAG
from airflow.sdk.configuration import conf
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert

from retraining.model import Model, model_of
from retraining.notices.notifier import tell
from retraining.source import common_setting, shown_setting

_HOURS = 24.0
_UNDERWAY = ("queued", "running")

logger = logging.getLogger(__name__)


class RunAfterDeadline(BaseDeadlineReference):
    """The time from which a run may start: every run has one, and it stays when the run is cleared.

    Airflow 3.3.2 itself offers the logical date, which not every run has, and the time of queueing: a run with such a
    deadline cannot be cleared (apache/airflow#70370).
    """

    required_kwargs = frozenset({"dag_id", "run_id"})

    def _evaluate_with(self, *, session: Any, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models import DagRun
        from sqlalchemy import select

        run = select(DagRun.run_after).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        found: datetime | None = session.scalar(run)
        return found


class DeadlinePlugin(AirflowPlugin):
    """Makes the reference known to scheduler and API server, which make runs."""

    name = "retraining_deadline"

    @property
    def deadline_references(self) -> list[Any]:  # type: ignore[override]
        """The reference by the name that a DAG has for it; Airflow loads a plugin's file by another name."""
        from retraining.notices.deadline import RunAfterDeadline

        return [RunAfterDeadline]


def alert_if_late(dag: DAG) -> None:
    """Have the executor call `tell_late` for each of the DAG's runs that has not ended in time."""
    model = model_of(dag.tags)
    alert = DeadlineAlert(
        reference=RunAfterDeadline(),
        interval=timedelta(hours=late_hours(shown_setting("late_hours", model, read=common_setting))),
        callback=SyncCallback("retraining.notices.deadline.tell_late", kwargs={"model": model.name}),
    )
    dag.deadline = [alert]


def tell_late(context: Mapping[str, Any], model: str) -> None:
    """Tell that a run is late, unless it has failed meanwhile; `context` is the short one that a deadline gives."""
    from ml.report.words.notices import late_notice

    run, deadline = context["dag_run"], context["deadline"]["deadline_time"]
    if run["state"] not in _UNDERWAY:
        return
    notice = late_notice(run["dag_run_id"], due=str(run["run_after"]), deadline=str(deadline))
    base = conf.get("api", "base_url", fallback="http://localhost:8080/").rstrip("/")
    tell(notice, f"{base}/dags/{run['dag_id']}/runs/{quote(run['dag_run_id'])}", Model(model))


def late_hours(setting: str | None) -> float:
    """The setting as a number of hours above 0, or the default; a warning names one that is none."""
    for hours in _numbers(setting or str(_HOURS)):
        return hours
    logger.warning("SINCERE_LATE_HOURS is no number of hours above 0: %s hours are taken", _HOURS)
    return _HOURS


def _numbers(setting: str) -> Iterator[float]:
    try:
        hours = float(setting)
        if timedelta(hours=hours) > timedelta():
            yield hours
    except (ValueError, OverflowError):
        return
