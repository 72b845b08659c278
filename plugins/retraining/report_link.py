"""A link from a task to the report of its run."""

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from retraining.pages import PREFIX

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class ReportLink(BaseOperatorLink):
    """Links a task, a failed one too, to the report of its run."""

    @property
    def name(self) -> str:
        """The button's text."""
        return "Report"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """Return the path of the report on Airflow's server."""
        return f"{PREFIX}/dags/{quote(ti_key.dag_id)}/runs/{quote(ti_key.run_id)}/"
