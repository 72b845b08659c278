"""The task `approve`: a person decides on a candidate, by Airflow's own human-in-the-loop operator."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Context, Param
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.context import NEVER_EXPIRE
from airflow.sdk.execution_time.hitl import HITLUser

from retraining.source import common_setting
from retraining.step.step_operator import StepOperator

APPROVE, REJECT = "Approve", "Reject"

_TEST_USER = "dag_test"  # who triggers a run by `airflow dags test` or `dag.test()`, says airflow.sdk's DAG
_NO_REASON = "no reason was given"
# Airflow 3.3.2 loses an answer that comes before its scheduler has seen that the task waits, and tries the task again.
_AGAIN = "**Asked again**: the task was cleared, or the answer to the first question was lost.\n\n"
_ASKED, _REJECTION = "asked", "rejection"  # keys of the task's state, which outlives retries and clearing


class ApproveOperator(StepOperator, HITLOperator):
    """Ask a person about a decision that wants an approval; the task's XCom is the decision, with the answer if any.

    Where nobody is asked, the task is skipped, and its XCom is the decision as it was, which promotes nothing that
    wants an approval. `records` are those of `evaluate`, `decide` and `probe`. `notifiers` tell that a person is
    wanted.
    """

    template_fields: Sequence[str] = StepOperator.template_fields

    def __init__(self, **kwargs: Any) -> None:
        reason = Param(
            "",
            type=["null", "string"],
            title="Reason",
            description="The history shows it to those who ask later.",
            source="task",
        )
        kwargs.pop("params", None)  # those of the DAG, which are no fields of an answer
        super().__init__(
            step="approve",
            subject="May the candidate be promoted?",
            options=[APPROVE, REJECT],
            defaults=REJECT,
            params={"reason": reason},
            response_timeout=timedelta(days=1),  # each question has its own
            **kwargs,
        )

    def execute(self, context: Context) -> dict[str, Any]:
        """Wait for a person, or raise AirflowSkipException with the reason why nobody is asked."""
        decision: dict[str, Any] = self.records[1]
        if reason := _reason_to_ask_nobody(context, decision):
            context["ti"].xcom_push("return_value", decision)
            self.log.info("%s", reason)
            raise AirflowSkipException(reason)
        if rejection := context["task_state_store"].get(_REJECTION):
            self.records = [*self.records, rejection]
        asked = StepOperator.execute(self, context)
        if asked["record"] != "Question":
            return asked
        again = _AGAIN if context["task_state_store"].get(_ASKED) == asked["decision"] else ""
        context["task_state_store"].set(_ASKED, asked["decision"], retention=NEVER_EXPIRE)
        self.subject, self.body = asked["subject"], f"{again}{asked['body']}"
        self.response_timeout = timedelta(hours=asked["hours"])
        self.assigned_users = approvers(common_setting("approvers", self.model) or "") or None
        HITLOperator.execute(self, context)
        raise AssertionError("the operator waits by an exception")

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Put the answer into the decision; a rejection is kept first, and stands whatever happens after it."""
        if "error" in event:
            self.process_trigger_event_error(event)
        answer = _answer(str(context["task_state_store"].get(_ASKED)), event)
        if answer["record"] == "Answer" and not answer["approved"]:
            context["task_state_store"].set(_REJECTION, answer, retention=NEVER_EXPIRE)
        self.records = [*self.records, answer]
        return StepOperator.execute(self, context)


def approvers(setting: str) -> list[HITLUser]:
    """Return the users that a setting like `anna, 7:ben` names, by id or with a name; empty if anybody may answer."""
    named = [part.strip().partition(":") for part in setting.split(",") if part.strip()]
    return [HITLUser(id=each, name=name or each) for each, _, name in named]


def _reason_to_ask_nobody(context: Context, decision: Mapping[str, Any]) -> str:
    if decision["approval"]["record"] != "ApprovalWanted":
        return "no person has to be asked"
    because = f"a person would have been asked ({' and '.join(decision['approval']['because'])})"
    if context["params"].get("dry_run"):
        return f"{because}, but a dry run promotes nothing"
    if context["dag_run"].triggering_user_name == _TEST_USER:
        return f"{because}, but nobody can answer `airflow dags test`: the champion stays"
    return ""


def _answer(decision: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of what came of the question about the decision with this digest."""
    answered: datetime = event["responded_at"]
    about = {"schema": 1, "decision": decision, "time": answered.isoformat(timespec="seconds")}
    user = event.get("responded_by_user")
    if not user:
        return {"record": "NoAnswer", **about}
    reason = str((event.get("params_input") or {}).get("reason") or "").strip()
    return {
        "record": "Answer",
        **about,
        "approved": event["chosen_options"] == [APPROVE],
        "by": str(user["name"] or user["id"]),
        "reason": reason or _NO_REASON,
    }
