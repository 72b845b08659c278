"""A listener that writes how a run ended into the run's note, which stands in the head of the run's page.

Airflow calls it where a run ends: in the scheduler, in `airflow dags test`, in the API server for a state set by hand.
"""

import logging
from typing import Any

from airflow.listeners import hookimpl

from retraining.outcome.run_outcome import NOTE, is_note

_LONGEST_NOTE = 1000  # as Airflow's API has it

logger = logging.getLogger(__name__)


@hookimpl
def on_dag_run_success(dag_run: Any) -> None:
    """Note how the run ended."""
    _note(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: Any) -> None:
    """Note how the run ended."""
    _note(dag_run)


def _note(dag_run: Any) -> None:
    """Write the note in the session in which Airflow ends the run; in `airflow dags test` the run is in none."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is not None:
        _write(session, dag_run)
        return
    with create_session() as own:
        for found in filter(None, [own.get(DagRun, dag_run.id)]):
            _write(own, found)


def _write(session: Any, dag_run: Any) -> None:
    """Write the note that a task left; what a person wrote stays below it."""
    from airflow.models.xcom import XComModel

    left = XComModel.get_many(run_id=dag_run.run_id, dag_ids=dag_run.dag_id, key=NOTE, limit=1)
    for xcom in session.scalars(left):
        text = XComModel.deserialize_value(xcom)
        if dag_run.dag_run_note is None:
            dag_run.note = text
        else:
            theirs = [each for each in (dag_run.note or "").split("\n\n") if not is_note(each)]
            dag_run.dag_run_note.content = "\n\n".join([text, *theirs])[:_LONGEST_NOTE]
