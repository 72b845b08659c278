"""The last tasks of a run: one for each way to end, of which one runs, so that the grid tells the weeks apart."""

import logging
from typing import Any

from airflow.providers.standard.operators.branch import BaseBranchOperator
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from retraining.model import model_of_task
from retraining.outcome.run_outcome import ENDED, FAILED, leave_note, outcome_of
from retraining.report_link import ReportLink
from retraining.step.task_log import TaskLog

_VERDICT = "verdict"

logger = logging.getLogger(__name__)


class VerdictOperator(BaseBranchOperator):
    """Choose the task of the way in which the run ended, and leave the run's note as an XCom."""

    operator_extra_links = (ReportLink(),)
    ui_color = "#dbe7f3"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(task_id=_VERDICT, trigger_rule="all_done", retries=0, **kwargs)

    def choose_branch(self, context: Context) -> str:
        """Return the id of that task."""
        ti, run_id = context["ti"], context["run_id"]
        # The end of a mapped task, which helps another, is the other's end.
        tasks = [task.task_id for task in self.dag.tasks if not task.is_mapped]
        states = ti.get_task_states(ti.dag_id, task_ids=tasks, run_ids=[run_id])[run_id]
        failed = sorted(task for task, state in states.items() if state == "failed")
        told = outcome_of(model_of_task(self), run_id, failed)
        leave_note(ti, told)
        ti.xcom_push(_VERDICT, {name: told[name] for name in ("outcome", "reason", "lines")})
        return str(told["outcome"])


class OutcomeOperator(BaseOperator):
    """One way to end; a run that ended so because something failed fails with the reason."""

    operator_extra_links = (ReportLink(),)

    def __init__(self, *, outcome: str, **kwargs: Any) -> None:
        super().__init__(task_id=outcome, retries=0, **kwargs)
        self.outcome = outcome
        self.ui_color = "#f6dcd9" if outcome in FAILED else "#e3f5ea"

    def execute(self, context: Context) -> None:
        """Log the reason, and fail with it if the run did."""
        told = context["ti"].xcom_pull(task_ids=_VERDICT, key=_VERDICT)
        log = TaskLog(context["ti"])
        for line in (f"{self.outcome}: {told['reason']}", *told["lines"]):
            log.add(line)
            logger.info("%s", line)
        if self.outcome in FAILED:
            raise AirflowFailException(f"{self.outcome}: {told['reason']}")


def verdict_tasks() -> VerdictOperator:
    """Return the task that chooses; behind it are the others, in the order in which the grid has them."""
    verdict = VerdictOperator()
    verdict >> [OutcomeOperator(outcome=outcome) for outcome in (*ENDED, *FAILED)]
    return verdict
