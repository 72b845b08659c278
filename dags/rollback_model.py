"""Point the champion's alias back at an earlier version when a person asks for it."""

from airflow.sdk import Asset, dag
from retraining.operators import TASK_DEFAULTS, RollbackOperator
from retraining.params import rollback_params


@dag(
    dag_id="rollback_model",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params=rollback_params(),
    tags=["quora", "rollback"],
    default_args=TASK_DEFAULTS,
    doc_md="""
    ### Back to an earlier champion

    First, the target version is served in a fresh process: a model that does not load and score cannot become the
    champion. Then the alias `production` moves, and the registry's history names the reason. Without a version, the
    target is the champion's predecessor. `python -m ml rollback` does the same without Airflow.

    The Param `version` proposes the former champions whose files are kept, as the last promotion or rollback left them;
    any other version of the history can be typed. One that was never promoted needs the Param `force`.
    """,
)
def rollback_model() -> None:
    """Run one task. It is idempotent: a retry after a crash does not roll back twice."""
    RollbackOperator(champion=Asset("quora_champion"))


rollback_model()
