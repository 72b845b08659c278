"""Two models, each with DAGs and a champion of its own: no page of one has anything of the other."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from retraining.dags import rollback_dag
from retraining.model import QUORA, Model

from ml.records import ToldSettings
from ml.report.rollback_choices import write_rollback_choices
from tests.airflow.pages.examples import decide_next
from tests.airflow.pages.places import DAG, Client, seen
from tests.judge.examples import open_run

TOXIC = Model("toxic")
RETRAIN, ROLLBACK = "retrain_toxic", "rollback_toxic"
RUN = "scheduled__2026-10-04T03:00:00+00:00"
FOLDER = "scheduled__2026-10-04T03_00_00_00_00"


@pytest.fixture
def dags() -> Iterator[None]:
    """The DAGs of the second model, as a file in the DAG folder gives them."""
    from airflow.models.dag import DagModel, DagTag
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        for dag_id, kind in {RETRAIN: "retraining", ROLLBACK: "rollback"}.items():
            session.add(DagModel(dag_id=dag_id, bundle_name="dags", fileloc="toxic.py", is_stale=False))
            session.add_all(DagTag(name=name, dag_id=dag_id) for name in (*TOXIC.tags, kind))
    yield
    with create_session() as session:
        for table in (DagTag, DagModel):
            session.execute(delete(table).where(table.dag_id.in_((RETRAIN, ROLLBACK))))


@pytest.fixture
def decided(dags: None, home: Path) -> None:
    """Champion v2 of one model, and v1 of the other, whose runs bear the same name."""
    toxic = home / "models" / "toxic"
    decide_next(home, FOLDER, (0.64, 0.55), time="2026-10-04T03:10:00+00:00", by="anna")
    decide_next(home, "second", (0.7, 0.6), (0.64, 0.55), time="2026-10-11T03:10:00+00:00", by="anna")
    decision = decide_next(toxic, FOLDER, (0.81, 0.72), time="2026-10-04T03:20:00+00:00", by="ben")
    for state, who in ((home, "anna"), (toxic, "ben")):
        run = open_run(state, FOLDER)
        run.keep_for_page(decision)
        run.keep_for_page(ToldSettings(preset="local", triggered_by=who, dry_run=False, force=False, different={}))
        write_rollback_choices(run, predecessors=5)


@pytest.mark.usefixtures("decided")
def test_the_page_models_has_each_with_its_own_champion(reader: Client) -> None:
    page = seen(reader().get("/retraining/models").text)
    assert "retrain_quora Data quality v2 champion since 11 Oct 2026, 03:10" in page
    assert "retrain_toxic Data quality v1 champion since 04 Oct 2026, 03:20 Precision 0.810" in page


@pytest.mark.usefixtures("decided")
def test_the_promotions_of_one_never_stand_on_the_others_page(reader: Client) -> None:
    pages = {dag: seen(reader().get(f"/retraining/dags/{dag}/promotions").text) for dag in (DAG, RETRAIN)}
    assert {dag: ("anna" in page, "ben" in page) for dag, page in pages.items()} == {
        DAG: (True, False),
        RETRAIN: (False, True),
    }
    assert "2 of 2; its" in pages[DAG]
    assert "1 of 1; its" in pages[RETRAIN]


@pytest.mark.usefixtures("decided")
def test_runs_of_the_same_name_have_each_its_own_report(reader: Client, run_of) -> None:
    for dag in (DAG, RETRAIN):
        run_of(dag, RUN)
    pages = {dag: seen(reader().get(f"/retraining/dags/{dag}/runs/{RUN}/").text) for dag in (DAG, RETRAIN)}
    assert [("anna" in page, "ben" in page) for page in pages.values()] == [(True, False), (False, True)]
    page = reader().get(f"/retraining/dags/{RETRAIN}/promotions").text
    assert "/dags/retrain_toxic/runs/scheduled__2026-10-04T03%3A00%3A00%2B00%3A00/plugin/report" in page
    assert "/dags/retrain_quora/" not in page


@pytest.mark.usefixtures("decided")
def test_no_run_of_one_is_found_below_the_others_dag(reader: Client) -> None:
    assert "There is no such" not in reader().get(f"/retraining/dags/{DAG}/runs/second/").text
    assert "Nothing yet" in reader().get(f"/retraining/dags/{RETRAIN}/runs/second/").text


@pytest.mark.usefixtures("decided")
def test_the_commands_of_a_report_find_the_models_own_home(reader: Client) -> None:
    page = seen(reader().get(f"/retraining/dags/{RETRAIN}/runs/{FOLDER}/").text)
    assert (
        'SINCERE_HOME="${SINCERE_HOME:-var}/models/toxic" python -m ml replay "${SINCERE_HOME:-var}/models/toxic"/store'
    ) in page


@pytest.mark.usefixtures("decided")
def test_a_rollback_offers_only_versions_of_its_own_model() -> None:
    offered = {
        model.name: rollback_dag(f"rollback_{model.name}", model).params.get_param("version").schema.get("examples")
        for model in (QUORA, TOXIC)
    }
    assert offered == {"quora": ["v1"], "toxic": None}
