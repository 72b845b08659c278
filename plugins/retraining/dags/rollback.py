"""Point a champion's alias back at an earlier version when a person asks for it."""

from airflow.sdk import DAG

from retraining.dags_test_command import ready_for_test
from retraining.model import Model
from retraining.operators import RollbackOperator
from retraining.params import rollback_params
from retraining.step.step_operator import TASK_DEFAULTS

_DOC = """
### Back to an earlier champion

First, the target version is served in a fresh process: a model that does not load and score cannot become the
champion. Then the alias `production` moves, and the registry's history names the reason. Without a version, the
target is the champion's predecessor. `python -m ml rollback` does the same without Airflow.

The Param `version` proposes the former champions whose files are kept, as the last promotion or rollback left them;
any other version of the history can be typed. One that was never promoted needs the Param `force`.
"""


def rollback_dag(dag_id: str, model: Model) -> DAG:
    """Return the DAG with one task. It is idempotent: a retry after a crash does not roll back twice."""
    with DAG(
        dag_id,
        schedule=None,
        catchup=False,
        max_active_runs=1,
        params=rollback_params(model),
        tags=[*model.tags, "rollback"],
        default_args=TASK_DEFAULTS,
        doc_md=_DOC,
    ) as made:
        RollbackOperator(champion=model.champion)
    ready_for_test(made)
    return made
