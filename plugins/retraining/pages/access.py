"""Which DAGs are of this kind, and which runs belong to them."""

from airflow.models.dag import DagModel, DagTag
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import select

from retraining.params import folder_name

RETRAINING = "retraining"  # the tag of a DAG that decides on promotions
SCORING = "scoring"  # the tag of a DAG that scores questions with the champion
KIND = (RETRAINING, "rollback", SCORING)  # the tags of DAGs whose runs have reports


def has_tag(dag_id: str, *tags: str) -> bool:
    """Say whether Airflow knows the DAG, and it has one of the tags: they make it a DAG of this kind."""
    asked = select(DagTag.name).where(DagTag.dag_id == dag_id, DagTag.name.in_(tags)).limit(1)
    with create_session() as session:
        return session.scalar(asked) is not None


def may_hold(dag_id: str, folder: str) -> bool:
    """Say whether a folder of reports may be shown with a DAG: it is of its run, or of none that Airflow knows."""
    owners = _owners(folder)
    return not owners or dag_id in owners


def _owners(folder: str) -> set[str]:
    """Return the DAGs with a run of that folder; the underscores that stand for other characters are wildcards here."""
    asked = select(DagRun.dag_id, DagRun.run_id).where(DagRun.run_id.like(f"{folder[:180]}%"))
    with create_session() as session:
        return {dag_id for dag_id, run_id in session.execute(asked) if folder_name(run_id) == folder}


def runs_of_kind() -> list[tuple[str, str]]:
    """Return DAG and run id of all runs that Airflow knows of DAGs of this kind."""
    kind = select(DagTag.dag_id).where(DagTag.name.in_(KIND))
    with create_session() as session:
        found = session.execute(select(DagRun.dag_id, DagRun.run_id).where(DagRun.dag_id.in_(kind)))
        return [(dag_id, run_id) for dag_id, run_id in found]


def dags_of_kind() -> list[str]:
    """Return the DAGs that decide on promotions, by their names; those whose file is gone are left out."""
    asked = select(DagModel.dag_id).join(DagTag, DagTag.dag_id == DagModel.dag_id)
    with create_session() as session:
        return list(
            session.scalars(asked.where(DagTag.name == RETRAINING, ~DagModel.is_stale).order_by(DagModel.dag_id))
        )
