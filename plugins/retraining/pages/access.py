"""Which DAGs are of this kind, and which runs belong to them."""

from retraining.params import folder_name

RETRAINING = "retraining"  # the tag of a DAG that decides on promotions
KIND = (RETRAINING, "rollback")  # the tags of DAGs whose runs have reports


def has_tag(dag_id: str, *tags: str) -> bool:
    """Say whether Airflow knows the DAG, and it has one of the tags: they make it a DAG of this kind."""
    from airflow.models.dag import DagTag
    from airflow.utils.session import create_session
    from sqlalchemy import select

    asked = select(DagTag.name).where(DagTag.dag_id == dag_id, DagTag.name.in_(tags)).limit(1)
    with create_session() as session:
        return session.scalar(asked) is not None


def may_hold(dag_id: str, folder: str) -> bool:
    """Say whether a folder of reports may be shown with a DAG: it is of its run, or of none that Airflow knows."""
    owners = _owners(folder)
    return not owners or dag_id in owners


def _owners(folder: str) -> set[str]:
    """Return the DAGs with a run of that folder; the underscores that stand for other characters are wildcards here."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    asked = select(DagRun.dag_id, DagRun.run_id).where(DagRun.run_id.like(f"{folder[:180]}%"))
    with create_session() as session:
        return {dag_id for dag_id, run_id in session.execute(asked) if folder_name(run_id) == folder}
