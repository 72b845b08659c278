"""The entry Models: each DAG of this kind that the reader may read, with its champion, last verdict and alarms."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.airflow.pages.examples import decide_next
from tests.airflow.pages.places import DAG, FOREIGN, Client, seen

PAGE = "/retraining/models"


@pytest.fixture
def second() -> str:
    """Another DAG of this kind."""
    from airflow.models.dag import DagModel, DagTag
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.add(DagModel(dag_id="retrain_spam", bundle_name="dags", fileloc="spam.py", is_stale=False))
        session.add_all(DagTag(name=name, dag_id="retrain_spam") for name in ("model:spam", "retraining"))
    yield "retrain_spam"
    with create_session() as session:
        session.execute(delete(DagTag).where(DagTag.dag_id == "retrain_spam"))
        session.execute(delete(DagModel).where(DagModel.dag_id == "retrain_spam"))


def test_a_dag_stands_with_champion_verdict_and_alarms(reader: Client, home: Path) -> None:
    decide_next(home, "run-1", (0.64, 0.55), time="2026-10-04T03:10:00+00:00")
    decide_next(home, "run-2", (0.45, 0.58), (0.48, 0.54), time="2026-10-11T03:10:00+00:00")
    page = seen(reader().get(PAGE).text)
    assert "retrain_quora Data quality v1 champion since 04 Oct 2026, 03:10 Precision 0.480" in page
    assert "blocked v2, 11 Oct 2026, 03:10 Why Champion v1 stays: the candidate fails its precision floor." in page
    assert "champion v1: precision 0.4800 is under 0.5000" in page


def test_a_dag_without_a_decision_says_so(reader: Client) -> None:
    page = seen(reader().get(PAGE).text)
    assert "retrain_quora Data quality No champion yet. No verdict yet" in page


def test_every_dag_with_the_tag_stands_there_and_no_other(reader: Client, second: str) -> None:
    page = seen(reader().get(PAGE).text)
    assert (DAG in page, second in page, FOREIGN in page, "rollback_model" in page) == (True, True, False, False)


def test_only_dags_that_the_reader_may_read_stand_there(reader: Client, second: str) -> None:
    page = seen(reader(second, FOREIGN).get(PAGE).text)
    assert (DAG in page, second in page) == (False, True)


def test_who_may_read_none_is_told_so(reader: Client) -> None:
    assert "There is no model here that you may see." in reader(FOREIGN).get(PAGE).text


def test_a_stranger_is_turned_away(stranger: TestClient) -> None:
    assert [stranger.get(path).status_code for path in (PAGE, "/retraining/static/pages.css")] == [401, 401]


def test_stylesheet_and_script_are_served_and_nothing_beside_them(reader: Client) -> None:
    names = ("pages.css", "pages.js", "models.svg", "..%2Flayout.py", "layout.py", "%00")
    statuses = [reader().get(f"/retraining/static/{name}").status_code for name in names]
    assert statuses == [200, 200, 200, 404, 404, 404]
