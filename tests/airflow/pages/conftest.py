"""The pages as the API server serves them: Airflow's own database, auth manager and tokens."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from tests.airflow.pages.places import DAG, FOREIGN, ROLLBACK, Client


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """Create Airflow's tables in the tests' own database, with two DAGs of this kind and another."""
    from airflow import settings
    from airflow.models import import_all_models
    from airflow.models.base import Base
    from airflow.models.dag import DagModel, DagTag
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    import_all_models()
    Base.metadata.create_all(settings.engine)
    tags = {DAG: ("quora", "retraining"), ROLLBACK: ("quora", "rollback"), FOREIGN: ("sales",)}
    with create_session() as session:
        session.add(DagBundleModel(name="dags"))
        session.flush()
        for dag_id, names in tags.items():
            session.add(DagModel(dag_id=dag_id, bundle_name="dags", fileloc="dag.py", is_stale=False))
            session.add_all(DagTag(name=name, dag_id=dag_id) for name in names)


@pytest.fixture(scope="session")
def _app(airflow_db):
    from airflow.api_fastapi.app import init_auth_manager, purge_cached_app
    from fastapi import FastAPI
    from retraining.plugin import RetrainingPlugin

    app = FastAPI()
    init_auth_manager(app)
    (pages,) = RetrainingPlugin().fastapi_apps
    app.mount(pages["url_prefix"], pages["app"])
    yield app
    purge_cached_app()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home; the registry is a folder in it."""
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    monkeypatch.delenv("SINCERE_REGISTRY", raising=False)
    return tmp_path


@pytest.fixture
def reader(_app, home: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Make a client that is logged in and may read these DAGs, or all."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    def client(*dags: str) -> TestClient:
        if dags:
            monkeypatch.setattr(
                SimpleAuthManager, "is_authorized_dag", lambda self, *, details, **_: details.id in dags
            )
        token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="reader", role="viewer"))
        return TestClient(_app, headers={"Authorization": f"Bearer {token}"})

    return client


@pytest.fixture
def quick_questions(python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pages ask by processes that wait for no import."""
    from retraining.pages import process

    monkeypatch.setattr(process, "sys", SimpleNamespace(executable=python))


@pytest.fixture
def stranger(_app, home: Path) -> Iterator[TestClient]:
    """A client that is not logged in."""
    with TestClient(_app) as client:
        yield client


@pytest.fixture
def run_of(airflow_db) -> object:
    """Give a DAG a run in Airflow's database."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunType
    from sqlalchemy import delete

    def add(dag_id: str, run_id: str) -> None:
        with create_session() as session:
            session.add(DagRun(dag_id=dag_id, run_id=run_id, run_type=DagRunType.MANUAL))

    yield add
    with create_session() as session:
        session.execute(delete(DagRun))
