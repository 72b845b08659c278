"""How far Airflow has come with a run."""

from collections.abc import Sequence
from typing import NamedTuple

from retraining.outcome.run_outcome import ENDED, FAILED


class TaskState(NamedTuple):
    """A task of the run in its last try."""

    task_id: str
    state: str
    try_number: int

    @property
    def is_step(self) -> bool:
        """Whether it does work, and does not only show how the run ended."""
        return self.task_id not in (*ENDED, *FAILED)


def tasks_of(dag_id: str, run_id: str) -> tuple[Sequence[TaskState], bool]:
    """Return the tasks of a run, in the order of their start, and whether the run is over, as Airflow's database says.

    A run that Airflow does not know, such as one of `python -m ml run`, has no tasks and is not over.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    which = TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id
    asked = select(TaskInstance.task_id, TaskInstance.state, TaskInstance.try_number).where(*which)
    with create_session() as session:
        state = session.scalar(select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        rows = session.execute(asked.order_by(TaskInstance.start_date)).all()
    tasks = [TaskState(task_id, str(state or "none"), number) for task_id, state, number in rows]
    return tasks, state in ("success", "failed")
