"""Score questions with the champion, and watch whether they are still like those that it was trained on."""

from datetime import timedelta

from airflow.sdk import Asset, dag
from retraining.environment import SOURCE_CONNECTIONS
from retraining.operators import TASK_DEFAULTS, ScoreOperator
from retraining.params import scoring_params
from retraining.schedule import RUN_TYPES, scoring_schedule


@dag(
    dag_id="score_questions",
    schedule=scoring_schedule(Asset("quora_champion")),
    catchup=False,
    allowed_run_types=RUN_TYPES,
    max_active_runs=1,
    params=scoring_params(),
    tags=["quora", "scoring"],
    default_args=TASK_DEFAULTS,
    doc_md="""
    ### Which questions does the champion flag?

    The task runs `python -m ml score`: it reads a CSV or Parquet file in a stream and writes its rows, in their order,
    with the columns `probability` and `label`, as one file, whole or not at all.

    It runs whenever `quora_champion` changes, at the times of `SINCERE_SCORE_SCHEDULE` (a cron expression) if that is
    set, and by hand. It scores what the Param `questions` names, else `SINCERE_QUESTIONS` or the Variable
    `sincere_questions`.

    Without labels, it watches over the share flagged, the scores and the lengths: the suite `expectations/scores.json`
    has the bounds of their drift from the champion's training. A warning is told and the rows are written; a critical
    failure stops the run, and nothing is written.

    Without a champion the run fails at once, and says what to do.
    """,
)
def score_questions() -> None:
    """Run one task. A retry writes the same file again."""
    ScoreOperator(connections=SOURCE_CONNECTIONS, pool="gpu", queue="gpu", execution_timeout=timedelta(hours=24))


score_questions()
