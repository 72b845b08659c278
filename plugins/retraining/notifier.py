"""Tells people when the champion itself has become too weak, whatever became of the candidate."""

import logging
from typing import TYPE_CHECKING

from airflow.sdk import BaseNotifier

if TYPE_CHECKING:
    from airflow.sdk import Context

logger = logging.getLogger(__name__)


class ChampionAlarm(BaseNotifier):
    """Logs an error for each floor that the champion misses by the decision; a subclass may send it elsewhere."""

    def notify(self, context: "Context") -> None:
        """Read the decision of the task that just succeeded."""
        decision = context["ti"].xcom_pull(task_ids=context["ti"].task_id)
        for alarm in decision["alarms"]:
            self.send(alarm)

    def send(self, alarm: str) -> None:
        """Deliver one alarm."""
        logger.error("ALARM: %s", alarm)
