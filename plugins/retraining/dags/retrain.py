"""Retrain a model at its times, and promote the result if it is better than the champion."""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from retraining.approval import ApproveOperator
from retraining.dags_test_command import ready_for_test
from retraining.model import Model
from retraining.notices.deadline import alert_if_late
from retraining.notices.notifier import ApprovalNotifier
from retraining.operators import DetectOperator, EvaluateOperator, PromoteOperator
from retraining.outcome.tasks import verdict_tasks
from retraining.params import retraining_params
from retraining.schedule import RUN_TYPES, retraining_schedule
from retraining.step.environment import SOURCE_CONNECTIONS
from retraining.step.pod import gpu_pod
from retraining.step.step_operator import TASK_DEFAULTS, StepOperator

_DOC = """
### From a CSV to a promotion decision

Each task runs one step, `python -m ml STEP`, in a process of its own and hands a small record to the next.

- **detect** ends the run early, as a success with skipped tasks, if CSV, settings and code are those of the
  champion's run, or of one that lost against the champion. The Param `force` overrides this, the cool-down, and the
  block on a version that was rolled back.
- **validate** stops the run without a retry if a critical expectation fails; its log says which one, and where the
  Data Docs are.
- **evaluate** scores candidate and champion in this run, on the same test rows. If the registry does not answer,
  the run stops.
- **probe** serves the candidate in a fresh process before the alias moves. The candidate must answer hard questions
  and reproduce its scores; its latency, memory and size are compared with the champion's.
- **decide** raises an alarm if the champion itself misses a floor on the fresh rows, whatever the verdict.
- **approve** waits for a person where the Param `approval` or a freeze window asks for one: see *Required Actions*.
  It is skipped where nobody is asked. Without an approval, and after a rejection, the champion stays.
- **promote** moves the alias `production` only if the verdict says so. A run that keeps the champion is a
  success too: its log says that nothing was promoted, and the asset `{champion}` gets no event.
  With the Param `dry_run`, nothing is written to the registry.
- **verdict** picks the task of the way in which the run ended, from *promoted* to *failed*: in each column of the
  grid one of them is not skipped. The run's note says it with the reason.

Bad data, bad settings and broken lineage are not retried, since a person must act. Network errors are retried.
Those whom {notify} names are told how a run ended, and that it is late.

#### Schedule

{schedule} is a cron text (weekly by default), `manual`, or `source`: a run for each event of the asset that is
named by the source's address. `SINCERE_TIMEZONE` is its time zone. It reads what {source}, names, by the settings of
{config}.
There is nothing to backfill: a run judges the champion of now on the file of now, so Airflow refuses a backfill.
"""


def retraining_dag(dag_id: str, model: Model) -> DAG:
    """Return the DAG that retrains a model; Airflow's UI shows its tabs if the id begins with `retrain_`."""
    told = {setting: model.told_by(setting) for setting in ("notify", "schedule", "source", "config")}
    with DAG(
        dag_id,
        schedule=retraining_schedule(model),
        catchup=False,
        allowed_run_types=RUN_TYPES,
        max_active_runs=1,
        params=retraining_params(model),
        tags=[*model.tags, "retraining"],
        default_args=TASK_DEFAULTS,
        doc_md=_DOC.format(champion=model.champion.name, **told),
    ) as made:
        _connect_tasks(model)
    alert_if_late(made)
    ready_for_test(made)
    return made


def _connect_tasks(model: Model) -> None:
    """Connect the tasks: each task takes the records of the tasks in its list."""
    snapshot = StepOperator(
        step="snapshot",
        connections=SOURCE_CONNECTIONS,
        execution_timeout=timedelta(hours=3),
    ).output
    validate = StepOperator(step="validate", records=[snapshot])
    DetectOperator(records=[snapshot]) >> validate
    splits = StepOperator(step="split", records=[snapshot, validate.output]).output
    gpu: dict[str, Any] = {"pool": "gpu", "queue": "gpu", "executor_config": gpu_pod()}
    trained = StepOperator(step="train", records=[splits], execution_timeout=timedelta(hours=24), **gpu).output
    comparison = EvaluateOperator(records=[splits, trained], execution_timeout=timedelta(hours=24), **gpu).output
    probe = StepOperator(step="probe", records=[comparison]).output
    decision = StepOperator(step="decide", records=[comparison, probe]).output
    approved = ApproveOperator(records=[comparison, decision, probe], notifiers=[ApprovalNotifier()]).output
    promote = PromoteOperator(champion=model.champion, records=[comparison, approved, probe])
    promote >> verdict_tasks()
