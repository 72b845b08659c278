"""The pages of an API server whose home is empty, where an object store has the state."""

from pathlib import Path

import pytest
from retraining.model import QUORA
from retraining.outcome.run_outcome import outcome_of
from retraining.pages import process, run_folder
from retraining.pages.champion import answer

from ml.keeping.share import share
from tests.airflow.pages.examples import decide_next
from tests.airflow.pages.places import DAG, Client, seen
from tests.places import ADDRESSES, open_shared_run

pytestmark = pytest.mark.usefixtures("quick_questions")
RUNS = f"/retraining/dags/{DAG}/runs"


@pytest.fixture
def store(home: Path, state_server, monkeypatch: pytest.MonkeyPatch):
    """An object store to which another machine has brought a champion and the reports of two runs."""
    monkeypatch.setattr(answer, "_PATIENCE_SECONDS", 120)
    monkeypatch.setattr(process, "_LONGEST_SECONDS", 120)
    monkeypatch.setattr(answer, "_QUESTIONS", {})
    monkeypatch.setattr(run_folder, "_FRESH", {})
    elsewhere = home / "elsewhere"
    decide_next(elsewhere, "first", (0.64, 0.55), time="2026-10-04T03:10:00+00:00")
    decide_next(elsewhere, "second", (0.7, 0.6), (0.64, 0.55), time="2026-10-11T03:10:00+00:00")
    share(open_shared_run(elsewhere))
    monkeypatch.setenv("SINCERE_STORE", ADDRESSES["s3"])
    return state_server


def test_pages_and_tasks_have_what_the_store_has(store, home: Path, reader: Client) -> None:
    page = seen(reader().get("/retraining/models").text)
    assert "v2 champion since 11 Oct 2026, 03:10 Precision 0.700" in page
    report = seen(reader().get(f"{RUNS}/second/").text)
    assert "Promoted" in report
    assert outcome_of(QUORA, "first", [])["outcome"] == "promoted"
    assert (home / "reports" / "second" / "verdict.txt").is_file()

    store.fault = lambda method, key: 403
    run_folder._FRESH.clear()
    assert seen(reader().get(f"{RUNS}/second/").text) == report, "what is here is shown"
    away = reader().get(f"{RUNS}/third/")
    assert away.status_code == 503
    assert "The bucket forbids access" in seen(away.text)
    answer._QUESTIONS.clear()
    assert "The registry does not answer: the bucket forbids access" in seen(reader().get("/retraining/models").text)


def test_the_page_of_data_quality_has_the_runs_of_other_machines(store, home: Path, reader: Client) -> None:
    other = open_shared_run(home / "elsewhere", "second")
    folder = other.report_folder / "data_quality"
    folder.mkdir()
    (folder / "validate.json").write_text("{}")
    other.mirror.send()
    assert reader().get(f"/retraining/dags/{DAG}/data").status_code == 200
    assert (home / "reports" / "second" / "data_quality" / "validate.json").is_file()
    assert not (home / "reports" / "second" / "verdict.txt").exists()
