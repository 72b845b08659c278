"""Tells people what came of a task: the notices that its step left, or that it failed."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier
from airflow.sdk.exceptions import AirflowException

from retraining.model import QUORA, Model, model_of_task
from retraining.notices.channels import send
from retraining.params import run_url

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ml.records import Notice

_ERRORS = {"champion_under_floor"}
_QUIET = {"promoted", "kept", "inconclusive", "unchanged", "rolled_back"}

logger = logging.getLogger(__name__)


class Notifier(BaseNotifier):
    """Tells what the step of a task has left."""

    def notify(self, context: "Context") -> None:
        """Tell each notice."""
        for notice in _left_by_step(context):
            _tell_of_task(notice, context["ti"])


class FailureNotifier(BaseNotifier):
    """Tells why a task failed: by the notice of its step, or else by what Airflow knows."""

    def notify(self, context: "Context") -> None:
        """Tell the step's notices, or that there is none."""
        from ml.report.words.notices import silent_failure_notice

        notices = _left_by_step(context) or [silent_failure_notice(context["ti"].task_id, _reason(context))]
        for notice in notices:
            _tell_of_task(notice, context["ti"])


class ApprovalNotifier(BaseNotifier):
    """Tells that a person is asked; for the `notifiers` of a task that asks, whose `records` have the decision."""

    def notify(self, context: "Context") -> None:
        """Tell it."""
        from ml.report.words.notices import approval_notice

        task: Any = context["ti"].task
        until = datetime.now(UTC) + task.response_timeout
        _tell_of_task(approval_notice(task.records, until=f"{until:%Y-%m-%d %H:%M} UTC"), context["ti"])


def tell(notice: "Notice", address: str, model: Model) -> None:
    """Write a notice to the log, and send it to those whom the setting names; no failure of a channel is raised.

    The first line names the model, unless it is the usual one.
    """
    from ml.report.words.notices import notice_lines

    what, *others = notice_lines(notice, address)
    lines = [what if model == QUORA else f"{model.name}: {what}", *others]
    level = logging.ERROR if notice.event in _ERRORS else logging.INFO if notice.event in _QUIET else logging.WARNING
    logger.log(level, "%s", "\n".join(lines))
    send(notice.event, lines, model)


def _tell_of_task(notice: "Notice", task_instance: Any) -> None:
    tell(notice, report_url(task_instance), model_of_task(task_instance.task))


def report_url(task_instance: Any) -> str:
    """Return the address of the report of a task's run in Airflow's UI."""
    return f"{run_url(task_instance)}/plugin/report"


def failure_text(step: str, error: Exception) -> str:
    """A notice, as a step would leave it, of an error that ended a step before it began."""
    from ml.report.words.notices import failure_notice, to_lines

    return to_lines([failure_notice(step, (), error, pending=False)])


def _left_by_step(context: "Context") -> Sequence["Notice"]:
    from ml.report.words.notices import from_lines

    return from_lines(getattr(context["ti"].task, "notices", ""))


def _reason(context: "Context") -> str:
    """What Airflow knows; the words of an error that is not Airflow's own may quote anything."""
    error = context.get("exception")
    if isinstance(error, AirflowException):
        return str(error)
    return f"it ended by a {type(error).__name__}" if isinstance(error, BaseException) else "Airflow lost its process"
