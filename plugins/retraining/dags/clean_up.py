"""Remove once a week what a model's home no longer needs."""

from airflow.sdk import DAG, CronTriggerTimetable

from retraining.dags_test_command import ready_for_test
from retraining.model import Model
from retraining.operators import CleanUpOperator
from retraining.params import cleaning_params
from retraining.schedule import RUN_TYPES, schedule_zone
from retraining.step.step_operator import TASK_DEFAULTS

WEDNESDAY_NIGHT = "0 3 * * 3"  # not when the week's training begins

_DOC = """
### What piles up, and what goes

The task runs `python -m ml gc`: snapshots, splits, scores, reports, checkpoints and Airflow's own logs go once they are
unused for longer than `gc.keep_days`, and the oldest of them where there are more than `gc.keep_bytes` bytes.

What the champion and its predecessors, the replay of a decision, or a run on its way needs stays, however old it is.
If the registry does not answer, or its history is damaged, nothing goes. The log says what went, why, and how many
bytes. With the Param `dry_run` nothing goes: the log says what would.

The log files are those of the worker that runs the task. {logs}
"""
_LOGS = {
    True: "They are those of all DAGs.",
    False: "This DAG leaves them alone: the one of the model `quora` removes those of all DAGs.",
}


def cleaning_dag(dag_id: str, model: Model) -> DAG:
    """Return the DAG with one task, which a retry or the next week finishes."""
    with DAG(
        dag_id,
        schedule=CronTriggerTimetable(WEDNESDAY_NIGHT, timezone=schedule_zone()),
        catchup=False,
        allowed_run_types=RUN_TYPES,
        max_active_runs=1,
        params=cleaning_params(model),
        tags=[*model.tags, "cleaning"],
        default_args=TASK_DEFAULTS,
        doc_md=_DOC.format(logs=_LOGS[model.has_airflows_logs]),
    ) as made:
        CleanUpOperator()
    ready_for_test(made)
    return made
