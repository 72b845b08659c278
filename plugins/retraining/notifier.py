"""Raises an alarm when the champion itself has become too weak, whatever the verdict on the candidate is."""

import logging
from typing import TYPE_CHECKING

from airflow.sdk import BaseNotifier

if TYPE_CHECKING:
    from airflow.sdk import Context

logger = logging.getLogger(__name__)


class ChampionAlarm(BaseNotifier):
    """Logs an error for each floor that the champion misses; a subclass may override `send`."""

    def notify(self, context: "Context") -> None:
        """Send the alarms of the decision that the task has returned."""
        decision = context["ti"].xcom_pull(task_ids=context["ti"].task_id)
        for alarm in decision["alarms"]:
            self.send(alarm)

    def send(self, alarm: str) -> None:
        """Deliver one alarm."""
        logger.error("ALARM: %s", alarm)
