"""The tab Data quality: what the steps kept of their expectations, run after run."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ml.records import DataCheck, DataQuality, Measured, NotMeasured, ObservedCheck, to_json
from tests.airflow.pages.places import DAG, FOREIGN, ROLLBACK, Client, seen

PAGE = f"/retraining/dags/{DAG}/data"
BALANCE = ObservedCheck(
    docs="data_docs",
    check=DataCheck(name="label balance", column="target", severity="critical", passed=True, observed="0.0619"),
    required="0.04 to 0.09",
    note="why",
    value=Measured(value=0.0619),
)
UNIQUE = ObservedCheck(
    docs="data_docs",
    check=DataCheck(
        name="qid unique", column="qid", severity="critical", passed=True, observed="0 of 100 rows against it"
    ),
    required="unique",
    note="why",
    value=NotMeasured(),
)
GROWTH = ObservedCheck(
    docs="data_docs_change",
    check=DataCheck(name="growth", column="growth", severity="warning", passed=False, observed="1.7"),
    required="0.9 to 1.5",
    note="why",
    value=Measured(value=1.7),
)


@pytest.fixture
def client(reader: Client) -> TestClient:
    return reader()


def keep(home: Path, run_id: str, time: str, *checks: ObservedCheck, step: str = "validate") -> None:
    quality = DataQuality(run_id=run_id, time=time, snapshot="1" * 64, rows=100, checks=checks)
    path = home / "reports" / run_id / "data_quality" / f"{step}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(quality))


def failed(check: ObservedCheck, observed: str, value: float) -> ObservedCheck:
    return replace(check, check=replace(check.check, passed=False, observed=observed), value=Measured(value=value))


@pytest.fixture
def three_runs(home: Path) -> None:
    keep(home, "run-1", "2026-10-04T03:00:00+00:00", BALANCE, UNIQUE)
    keep(home, "run-2", "2026-10-11T03:00:00+00:00", failed(BALANCE, "0.4", 0.4), UNIQUE)
    keep(home, "run-3", "2026-10-18T03:00:00+00:00", BALANCE, UNIQUE, GROWTH)


def test_the_grid_tells_passed_warned_failed_and_not_checked_by_run(client: TestClient, three_runs: None) -> None:
    grid = seen(client.get(PAGE).text.partition("<tbody>")[2].partition("Figures over time")[0])
    assert "label balance passed failed passed" in grid
    assert "qid unique passed passed passed" in grid
    assert "growth warned not checked not checked" in grid


def test_a_cell_leads_to_the_data_docs_of_its_run(client: TestClient, home: Path, three_runs: None) -> None:
    docs = home / "reports" / "run-3" / "data_docs_change"
    docs.mkdir()
    (docs / "index.html").write_text("the docs")
    address = f"/retraining/dags/{DAG}/runs/run-3/data_docs_change/index.html"
    assert f'href="{address}" title="18 Oct 2026, 03:00: warned, observed 1.7, required 0.9 to 1.5"' in (
        client.get(PAGE).text
    )
    assert client.get(address).text == "the docs"


def test_each_measured_figure_is_a_line_over_time_and_a_row_of_a_table(client: TestClient, three_runs: None) -> None:
    page = client.get(PAGE).text
    assert re.findall(r'aria-label="([a-z ]+), run after run"', page) == ["label balance", "growth"]
    assert "<title>11 Oct 2026, 03:00: 0.4, failed</title>" in page
    assert "label balance 0.0619 0.4 0.0619" in seen(page.partition("As a table")[2])


def test_what_both_steps_found_is_one_run(client: TestClient, home: Path) -> None:
    keep(home, "run-1", "2026-10-04T03:00:00+00:00", BALANCE)
    parts = replace(UNIQUE, docs="data_docs_splits", check=replace(UNIQUE.check, name="parts"))
    keep(home, "run-1", "2026-10-04T03:05:00+00:00", parts, step="split")
    grid = seen(client.get(PAGE).text.partition("<tbody>")[2].partition("Figures over time")[0])
    assert grid.startswith("The file label balance passed The splits parts passed The newest run")


def test_the_runs_of_another_dag_are_not_shown(client: TestClient, three_runs: None, run_of) -> None:
    run_of(ROLLBACK, "run-2")
    assert "label balance passed passed" in seen(client.get(PAGE).text)


def test_what_cannot_be_read_is_left_out(client: TestClient, home: Path, three_runs: None) -> None:
    for run_id, text in {"run-4": "", "run-5": "[]", "run-6": "\0", "run-7": '{"record":"DataQuality"}'}.items():
        keep(home, run_id, "2026-10-25T03:00:00+00:00", BALANCE)
        (home / "reports" / run_id / "data_quality" / "validate.json").write_text(text)
    assert "The newest 3 runs" in client.get(PAGE).text


def test_hostile_names_are_text(client: TestClient, home: Path) -> None:
    hostile = replace(BALANCE, check=replace(BALANCE.check, name="<script>x", observed='"><img>'), required="<b>")
    keep(home, "run<script>1", "<i>", hostile)
    page = client.get(PAGE).text
    assert [tag for tag in ("<script>", "<img>", "<b>", "<i>") if tag in page] == []


def test_before_the_first_run_the_page_says_what_will_be_there(client: TestClient, home: Path) -> None:
    assert "No run has looked at data yet." in client.get(PAGE).text
    assert list(home.iterdir()) == []


def test_a_page_of_another_dag_says_that_it_is_of_another_kind(client: TestClient, three_runs: None) -> None:
    page = client.get(f"/retraining/dags/{FOREIGN}/data").text
    assert (f"{FOREIGN} is no retraining DAG." in page, "label balance" in page) == (True, False)


def test_only_who_may_read_the_dag_sees_it(reader: Client, stranger: TestClient) -> None:
    assert stranger.get(PAGE).status_code == 401
    assert reader(FOREIGN).get(PAGE).status_code == 403
