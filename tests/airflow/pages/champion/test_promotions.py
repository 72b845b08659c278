"""The tab Promotions: champion, figures and decisions as the registry has them, for those who may read the DAG."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from retraining.pages.champion import answer

from ml.registry.local import LocalRegistry
from tests.airflow.pages.examples import decide_next, roll_back
from tests.airflow.pages.places import DAG, FOREIGN, ROLLBACK, Client, text_of

PAGE = f"/retraining/dags/{DAG}/promotions"
FIRST_RUN = "scheduled__2026-10-04T03_00_00_00_00"


@pytest.fixture
def client(reader: Client) -> TestClient:
    return reader()


@pytest.fixture
def decided(home: Path) -> Path:
    """A registry with a decision of each kind; v2 is champion again after a rollback from v5."""
    decide_next(home, FIRST_RUN, (0.64, 0.55), time="2026-10-04T03:10:00+00:00")
    decide_next(home, "run-2", (0.67, 0.58), (0.63, 0.54), time="2026-10-11T03:10:00+00:00")
    decide_next(home, "run-3", (0.668, 0.572), (0.66, 0.57), time="2026-10-18T03:10:00+00:00")
    decide_next(home, "run-4", (0.45, 0.6), (0.65, 0.57), time="2026-10-25T03:10:00+00:00")
    decide_next(home, "run-5", (0.7, 0.61), (0.655, 0.575), time="2026-11-01T03:10:00+00:00", by="Airflow, by anna")
    roll_back(home, "run-6", "v2", "Complaints about <schools>", time="2026-11-03T09:00:00+00:00")
    decide_next(home, "run-7", (0.66, 0.58), (0.48, 0.57), time="2026-11-08T03:10:00+00:00")
    return home


def test_the_card_names_the_champion_and_since_when(client: TestClient, decided: Path) -> None:
    card = text_of(client.get(PAGE).text, "Champion", "The champion on fresh rows")
    assert card.startswith("Champion v2 rolled back 03 Nov 2026, 09:00")


def test_the_figures_are_those_of_the_last_fresh_rows_with_wilson_intervals(client: TestClient, decided: Path) -> None:
    card = text_of(client.get(PAGE).text, "Champion", "The champion on fresh rows")
    assert "Precision 0.480 0.454 - 0.506 Recall 0.570 0.542 - 0.598" in card.replace("\N{EN DASH}", "-")
    assert "On 20,000 fresh rows of 08 Nov 2026, 03:10, with 95 % intervals." in card


def test_figures_whose_rows_are_gone_are_those_of_the_history_alone(client: TestClient, decided: Path) -> None:
    shutil.rmtree(decided / "store" / "comparisons")
    card = text_of(client.get(PAGE).text, "Champion", "The champion on fresh rows")
    assert "Precision 0.480" in card
    assert "Recall 0.570" in card
    assert "20,000 fresh rows of 08 Nov 2026, 03:10" in card


def test_the_champions_alarms_stand_with_it(client: TestClient, decided: Path) -> None:
    card = text_of(client.get(PAGE).text, "Champion", "The champion on fresh rows")
    assert "champion v2: precision 0.4800 is under 0.5000" in card


def test_each_run_that_measured_the_champion_is_in_the_charts_and_their_table(
    client: TestClient, decided: Path
) -> None:
    page = client.get(PAGE).text
    rows = text_of(page, "As a table", "Precision and recall by version")
    assert re.findall(r"\d\d \w{3} 2026", rows) == [
        *("08 Nov 2026", "01 Nov 2026", "25 Oct 2026", "18 Oct 2026", "11 Oct 2026"),
    ]
    assert page.count("<title>2026-10-25: 0.650 (0.621 to 0.678)</title>") == 1


def test_the_chart_by_version_marks_each_verdict(client: TestClient, decided: Path) -> None:
    page = client.get(PAGE).text
    assert "<title>v4, blocked: precision 0.450, 2026-10-25</title>" in page
    assert "<title>v5, promoted: recall 0.610, 2026-11-01</title>" in page
    assert "<title>v3, inconclusive: precision 0.668, 2026-10-18</title>" in page


def test_the_table_has_every_decision_newest_first_with_its_reason(client: TestClient, decided: Path) -> None:
    table = client.get(PAGE).text.partition('id="decisions"')[2]
    assert re.findall(r"class=\"badge \w+\">([a-z ]+)<", table) == [
        *("inconclusive", "rolled back", "promoted", "blocked", "inconclusive", "promoted", "promoted"),
    ]
    assert "Champion v2 stays: the candidate fails its precision floor." in table
    assert "Complaints about &lt;schools&gt;" in table


@pytest.mark.parametrize(
    ("q", "found"),
    [("anna", 1), ("v4", 1), ("PROMOTED v5", 1), ("rolled back", 1), ("<schools>", 1), ("2026-10", 4), ("nobody", 0)],
)
def test_the_search_finds_what_a_person_sees(client: TestClient, decided: Path, q: str, found: int) -> None:
    page = client.get(f"{PAGE}?q={quote(q)}").text
    assert page.partition('id="decisions"')[2].count(">Why</a>") == found


def test_a_decision_leads_to_the_tab_of_its_run_in_airflow(client: TestClient, decided: Path, run_of) -> None:
    run_of(DAG, "scheduled__2026-10-04T03:00:00+00:00")
    address = f"/dags/{DAG}/runs/scheduled__2026-10-04T03%3A00%3A00%2B00%3A00/plugin/report"
    assert f'<a href="{address}" target="_top">Why</a>' in client.get(PAGE).text


def test_a_decision_of_a_run_that_airflow_does_not_know_leads_to_its_folder(client: TestClient, decided: Path) -> None:
    address = f"/retraining/dags/{DAG}/runs/run-2/"
    assert f'<a href="{address}">Why</a>' in client.get(PAGE).text
    assert client.get(address).status_code == 200


def test_without_a_registry_the_page_says_what_will_be_there(client: TestClient, home: Path) -> None:
    page = client.get(PAGE).text
    assert "There is no champion yet" in page
    assert "No decision was made yet" in page
    assert list(home.iterdir()) == []


def test_reading_leaves_the_registry_as_it_is(client: TestClient, decided: Path) -> None:
    def state() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in decided.rglob("*")}

    before = state()
    client.get(PAGE)
    client.get("/retraining/models")
    assert state() == before


def test_a_registry_that_contradicts_itself_is_a_message_above_what_runs_have_kept(
    client: TestClient, decided: Path
) -> None:
    (decided / "registry" / "history.jsonl").write_text("")
    page = client.get(PAGE).text
    assert "0 of 7 entries are there" in page
    assert page.partition('id="decisions"')[2].count(">Why</a>") == 7
    assert text_of(page, "Champion", "The champion on fresh rows").startswith("Champion v2 rolled back")


def test_more_decisions_than_a_page_has_are_on_the_next(client: TestClient, home: Path) -> None:
    decision = decide_next(home, "run-0", (0.64, 0.55), time="2026-01-01T00:00:00+00:00")
    registry = LocalRegistry(home / "registry")
    for number in range(1, 53):
        registry.record(replace(registry.history()[0], run_id=f"run-{number}", promoted=False), decision)
    first, second = client.get(PAGE).text, client.get(f"{PAGE}?number=2").text
    assert (first.count(">Why</a>"), second.count(">Why</a>")) == (50, 3)
    assert 'href="?q=&amp;number=2#decisions">older</a>' in first
    assert 'href="?q=&amp;number=1#decisions">newer</a>' in second


def test_a_page_of_another_dag_says_that_it_is_of_another_kind(client: TestClient, decided: Path) -> None:
    for dag in (FOREIGN, ROLLBACK):
        page = client.get(f"/retraining/dags/{dag}/promotions").text
        assert f"{dag} is no retraining DAG." in page
        assert "v2" not in page


def test_only_who_may_read_the_dag_sees_it(reader: Client, stranger: TestClient, decided: Path) -> None:
    assert stranger.get(PAGE).status_code == 401
    assert reader(FOREIGN).get(PAGE).status_code == 403
    assert reader(DAG).get(PAGE).status_code == 200


def test_no_text_of_the_page_can_be_a_script(client: TestClient, decided: Path) -> None:
    response = client.get(f"{PAGE}?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>" not in response.text
    rules = response.headers["content-security-policy"].split("; ")
    assert "default-src 'none'" in rules
    assert "script-src 'self'" in rules


@pytest.mark.parametrize("page", ["promotions", "data", "runs/run-1/"])
def test_a_wrong_setting_of_the_server_is_named(client: TestClient, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    monkeypatch.setenv("SINCERE_HOME", "~no-such-user/home")
    response = client.get(f"/retraining/dags/{DAG}/{page}")
    assert response.status_code == 503
    assert "There is no such user (SINCERE_HOME). What to do: write the path without ~." in response.text


def test_a_registry_of_an_unknown_kind_is_named(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "_PATIENCE_SECONDS", 120)
    monkeypatch.setenv("SINCERE_REGISTRY", "gopher:hole")
    assert "No registry answers to the scheme" in client.get(PAGE).text


@pytest.mark.parametrize("number", ["0", "-1"])
def test_a_page_before_the_first_is_none(client: TestClient, decided: Path, number: str) -> None:
    assert client.get(f"{PAGE}?number={number}").status_code == 404
