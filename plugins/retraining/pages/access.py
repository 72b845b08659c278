"""Which DAGs are of this kind, and which runs belong to them."""

from airflow.models.dag import DagModel, DagTag
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import ColumnElement, select

from retraining.model import MODEL_TAG, QUORA, Model, model_of
from retraining.params import folder_name

RETRAINING = "retraining"  # the tag of a DAG that decides on promotions
SCORING = "scoring"  # the tag of a DAG that scores questions with the champion
KIND = (RETRAINING, "rollback", SCORING)  # the tags of DAGs whose runs have reports


def has_tag(dag_id: str, *tags: str) -> bool:
    """Say whether Airflow knows the DAG, and it has one of the tags: they make it a DAG of this kind."""
    asked = select(DagTag.name).where(DagTag.dag_id == dag_id, DagTag.name.in_(tags)).limit(1)
    with create_session() as session:
        return session.scalar(asked) is not None


def model_of_dag(dag_id: str) -> Model:
    """Return the model that a DAG is about."""
    asked = select(DagTag.name).where(DagTag.dag_id == dag_id, DagTag.name.startswith(MODEL_TAG, autoescape=True))
    with create_session() as session:
        return model_of(session.scalars(asked))


def may_hold(dag_id: str, folder: str) -> bool:
    """Say whether a folder of a model's reports may be shown with a DAG: no run is known of it, or one of the DAG."""
    owners = _owners(folder, model_of_dag(dag_id))
    return not owners or dag_id in owners


def _owners(folder: str, model: Model) -> set[str]:
    """Return the model's DAGs with a run of that folder; underscores, which stand for any character, are wildcards."""
    asked = select(DagRun.dag_id, DagRun.run_id).where(DagRun.run_id.like(f"{folder[:180]}%"), _is_about(model))
    with create_session() as session:
        return {dag_id for dag_id, run_id in session.execute(asked) if folder_name(run_id) == folder}


def runs_of_model(model: Model) -> list[tuple[str, str]]:
    """Return DAG and run id of all runs that Airflow knows of DAGs of this kind that are about the model."""
    kind = select(DagTag.dag_id).where(DagTag.name.in_(KIND))
    with create_session() as session:
        asked = select(DagRun.dag_id, DagRun.run_id).where(DagRun.dag_id.in_(kind), _is_about(model))
        found = session.execute(asked)
        return [(dag_id, run_id) for dag_id, run_id in found]


def _is_about(model: Model) -> ColumnElement[bool]:
    """Return the condition that a run's DAG is about the model: no tag of a DAG makes it one about `QUORA`."""
    named = select(DagTag.dag_id)
    if model != QUORA:
        return DagRun.dag_id.in_(named.where(DagTag.name == model.tag))
    others = named.where(DagTag.name.startswith(MODEL_TAG, autoescape=True), DagTag.name != model.tag)
    return DagRun.dag_id.not_in(others)


def dags_of_kind() -> list[str]:
    """Return the DAGs that decide on promotions, by their names; those whose file is gone are left out."""
    asked = select(DagModel.dag_id).join(DagTag, DagTag.dag_id == DagModel.dag_id)
    with create_session() as session:
        return list(
            session.scalars(asked.where(DagTag.name == RETRAINING, ~DagModel.is_stale).order_by(DagModel.dag_id))
        )
