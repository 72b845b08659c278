"""Score questions with a champion, and watch whether they are still like those that it was trained on."""

from datetime import timedelta

from airflow.sdk import DAG

from retraining.dags_test_command import ready_for_test
from retraining.model import Model
from retraining.operators import ScoreOperator
from retraining.params import scoring_params
from retraining.schedule import RUN_TYPES, scoring_schedule
from retraining.step.environment import SOURCE_CONNECTIONS
from retraining.step.step_operator import TASK_DEFAULTS

_DOC = """
### Which questions does the champion flag?

The task runs `python -m ml score`: it reads a CSV or Parquet file in a stream and writes its rows, in their order,
with the columns `probability` and `label`, as one file, whole or not at all.

It runs whenever `{champion}` changes, at the times of {score_schedule} (a cron expression), if that is set, and by
hand. It scores what the Param `questions` names, else what {questions}, names.

Without labels, it watches over the share flagged, the scores and the lengths: the suite `expectations/scores.json`
has the bounds of their drift from the champion's training. A warning is told and the rows are written; a critical
failure stops the run, and nothing is written.

Without a champion the run fails at once, and says what to do.
"""


def scoring_dag(dag_id: str, model: Model) -> DAG:
    """Return the DAG with one task, whose retry writes the same file again; it has a tab if `score_` begins its id."""
    told = {setting: model.told_by(setting) for setting in ("score_schedule", "questions")}
    with DAG(
        dag_id,
        schedule=scoring_schedule(model),
        catchup=False,
        allowed_run_types=RUN_TYPES,
        max_active_runs=1,
        params=scoring_params(model),
        tags=[*model.tags, "scoring"],
        default_args=TASK_DEFAULTS,
        doc_md=_DOC.format(champion=model.champion.name, **told),
    ) as made:
        ScoreOperator(connections=SOURCE_CONNECTIONS, pool="gpu", queue="gpu", execution_timeout=timedelta(hours=24))
    ready_for_test(made)
    return made
