"""Airflow's cluster policy: a scheduler that runs leaves the runs of `airflow dags test` and `tasks test` alone.

Both make a run in the database that looks like any other, and run its tasks in their own process. A scheduler on that
database would start the same tasks once more.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

# The scheduler starts no task of a pool that does not exist; `airflow dags test` and `tasks test` ignore pools.
POOL = "the process that tests it"


def task_instance_mutation_hook(task_instance: "TaskInstance", dag_run: "DagRun | None" = None) -> None:
    """Move a task of a test's run to a pool that the scheduler passes over."""
    if dag_run is not None and _is_of_a_test(dag_run):
        task_instance.pool = POOL


def _is_of_a_test(dag_run: "DagRun") -> bool:
    from airflow.utils.types import DagRunTriggeredByType

    return dag_run.triggered_by == DagRunTriggeredByType.TEST or dag_run.run_id.startswith("__airflow_temporary_run_")
