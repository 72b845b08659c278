"""The listener that notes how a run ended, on Airflow's own models and database."""

from collections.abc import Iterator

import pytest
from airflow.models.dagrun import DagRun
from airflow.models.xcom import XComModel
from retraining.outcome import run_note
from retraining.outcome.run_outcome import NOTE
from retraining.plugin import RetrainingPlugin

OURS = "**Kept**: no gain · production: v1"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    from airflow.models import import_all_models
    from airflow.models.base import Base
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    import_all_models()
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('airflow')}/airflow.db")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture
def run(session, request: pytest.FixtureRequest) -> DagRun:
    """A run whose last task left a note."""
    run = DagRun(dag_id="retrain_quora", run_id=request.node.name, run_type="manual")
    session.add(run)
    session.flush()
    session.add(
        XComModel(
            dag_run_id=run.id,
            task_id="verdict",
            map_index=-1,
            key=NOTE,
            dag_id=run.dag_id,
            run_id=run.run_id,
            value=XComModel.serialize_value(OURS),
        )
    )
    session.commit()
    return run


def end(session, run: DagRun) -> str:
    run_note.on_dag_run_success(run)
    session.commit()
    session.expire_all()
    return run.note


def test_the_plugin_brings_the_listener() -> None:
    assert RetrainingPlugin.listeners == [run_note]


def test_a_run_that_ends_has_a_note(session, run: DagRun) -> None:
    assert end(session, run) == OURS


def test_a_run_that_ends_again_has_one_note(session, run: DagRun) -> None:
    run.note = "**Failed**: too little memory"
    assert end(session, run) == OURS


def test_what_a_person_wrote_stays_below(session, run: DagRun) -> None:
    run.note = ("look at *this*", "eve")
    assert end(session, run) == f"{OURS}\n\nlook at *this*"
    assert end(session, run) == f"{OURS}\n\nlook at *this*"


def test_a_run_without_a_verdict_keeps_its_note(session) -> None:
    run = DagRun(dag_id="another", run_id="manual__2", run_type="manual")
    run.note = "theirs"
    session.add(run)
    assert end(session, run) == "theirs"


def test_a_run_that_is_in_no_session_has_a_note_too(session, run: DagRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `airflow dags test`."""
    from sqlalchemy.orm import sessionmaker

    monkeypatch.setattr("airflow.settings.Session", sessionmaker(session.get_bind()))
    run_id = run.id
    session.refresh(run)
    session.expunge(run)
    run_note.on_dag_run_failed(run)
    session.expire_all()
    assert session.get(DagRun, run_id).note == OURS
