"""Retrain the classifier of insincere questions every week, and promote the result if it is better."""

from datetime import timedelta

from airflow.sdk import Asset, dag
from retraining.notifier import ChampionAlarm
from retraining.operators import TASK_DEFAULTS, DetectOperator, PromoteOperator, StepOperator
from retraining.params import retraining_params

CHAMPION = Asset("quora_champion")


@dag(
    dag_id="retrain_quora",
    schedule="@weekly",
    catchup=False,
    max_active_runs=1,
    params=retraining_params(),
    tags=["quora", "retraining"],
    default_args=TASK_DEFAULTS,
    doc_md="""
    ### From a CSV to a promotion decision

    Each task runs one step, `python -m ml STEP`, in a process of its own and hands a small record to the next.

    - **detect** ends the run early, as a success with its tasks skipped, if CSV, settings and code are those of the
      champion's run; the Param `force` overrides it, the cool-down, and the block on a version rolled back from.
    - **validate** stops the run for good if a critical expectation fails; its log says which one, and where the
      Data Docs are.
    - **evaluate** scores candidate and champion now, on the same test rows; an unreachable registry stops the run.
    - **probe** serves the candidate in a fresh process before anything moves: hard questions, rows scored before, and
      latency, memory and size beside the champion's.
    - **decide** raises an alarm if the champion itself misses a floor on the fresh rows, whatever the verdict.
    - **promote** moves the alias `production` only if the verdict says so. A run that keeps the champion is a
      success too: its log says that nothing was promoted, and the asset `quora_champion` gets no event.
      With the Param `dry_run`, nothing at all is written to the registry.

    Bad data, bad settings and broken lineage are not retried: a person must look. Network trouble is.
    """,
)
def retrain_quora() -> None:
    """The pipeline's arrows: a task takes the records of those named in its list."""
    snapshot = StepOperator(
        step="snapshot",
        connections={"kaggle_default": {"KAGGLE_USERNAME": "login", "KAGGLE_KEY": "password"}},
        execution_timeout=timedelta(hours=3),
    ).output
    validate = StepOperator(step="validate", records=[snapshot])
    DetectOperator(records=[snapshot]) >> validate
    splits = StepOperator(step="split", records=[snapshot, validate.output]).output
    trained = StepOperator(
        step="train", records=[splits], pool="gpu", queue="gpu", retries=1, execution_timeout=timedelta(hours=24)
    ).output
    comparison = StepOperator(step="evaluate", records=[splits, trained]).output
    probe = StepOperator(step="probe", records=[comparison]).output
    decision = StepOperator(step="decide", records=[comparison, probe], on_success_callback=[ChampionAlarm()]).output
    PromoteOperator(champion=CHAMPION, records=[comparison, decision, probe])


retrain_quora()
