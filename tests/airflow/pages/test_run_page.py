"""A run's page in Airflow's UI: where links lead, who may read it, and which files are never served."""

from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from retraining.plugin import RetrainingPlugin
from retraining.report_link import ReportLink

from tests.airflow.pages.places import DAG, FOREIGN, ROLLBACK, Client
from tests.any_input import any_input

RUNS = f"/retraining/dags/{DAG}/runs"
RUN_ID = "manual__2026-11-23T10:00:00+00:00"
FOLDER = "manual__2026-11-23T10_00_00_00_00"


@pytest.fixture
def client(reader: Client) -> TestClient:
    return reader()


@pytest.fixture(autouse=True)
def reports(home: Path) -> Path:
    folder = home / "reports" / "run-1"
    folder.mkdir(parents=True)
    (folder / "evaluation.html").write_text("<h1>Evaluation</h1>")
    (home / "secret.txt").write_text("secret\n")
    return folder


def test_the_link_leads_to_the_page_of_the_run() -> None:
    key = SimpleNamespace(dag_id=DAG, run_id=RUN_ID)
    assert ReportLink().get_link(None, ti_key=key) == f"{RUNS}/manual__2026-11-23T10%3A00%3A00%2B00%3A00/"


def test_a_run_has_a_tab_that_leads_to_its_page(client: TestClient, reports: Path) -> None:
    tab = next(view for view in RetrainingPlugin().external_views if view["destination"] == "dag_run")
    reports.rename(reports.parent / FOLDER)
    address = tab["href"].replace("{DAG_ID}", DAG).replace("{RUN_ID}", "manual__2026-11-23T10%3A00%3A00%2B00%3A00")
    assert "evaluation.html" in client.get(f"/{address}").text


def test_a_run_lists_the_pages_that_it_has_by_what_they_show(client: TestClient) -> None:
    page = client.get(f"{RUNS}/run-1/").text
    assert '<a href="evaluation.html">Evaluation: score histograms, confusion, training, worst mistakes</a>' in page
    assert "exploration.html" not in page


def test_a_run_that_left_a_verdict_only_shows_it(client: TestClient, reports: Path) -> None:
    (reports / "verdict.txt").write_text("KEEP: recall 0.6 < 0.7\n")
    assert "<pre>KEEP: recall 0.6 &lt; 0.7\n</pre>" in client.get(f"{RUNS}/run-1/").text


def test_a_run_without_reports_says_so(client: TestClient) -> None:
    assert "No step of this run has left anything to show" in client.get(f"{RUNS}/run-2/").text


def test_no_script_of_a_report_is_run_and_its_links_keep_the_session(client: TestClient) -> None:
    response = client.get(f"{RUNS}/run-1/evaluation.html")
    assert response.text == "<h1>Evaluation</h1>"
    policy = response.headers["content-security-policy"].split("; ")
    assert "default-src 'none'" in policy
    assert [rule for rule in policy if rule.startswith(("script-src", "sandbox"))] == []


@pytest.mark.parametrize(
    "path",
    [
        *("run-1/..%2F..%2Fsecret.txt", "run-1/%2Fetc%2Fpasswd", "..%2Fsecret.txt", "run-1/data_docs"),
        *("run-2/evaluation.html", "run-1/a%00b", f"run-1/{'x' * 300}", f"run-1/{'x/' * 3000}"),
        *("run-1/loop/a", "run-1/loop", "%00/a"),
    ],
)
def test_what_is_no_file_of_the_runs_folder_is_not_found(client: TestClient, reports: Path, path: str) -> None:
    (reports / "loop").symlink_to("loop")
    response = client.get(f"{RUNS}/{path}")
    assert (response.status_code, "There is no such page." in response.text) == (404, True)


@any_input
@given(st.lists(st.one_of(st.text(), st.sampled_from(["..", "run-1", "", "~", "secret.txt", "loop"])), max_size=8))
def test_no_path_leads_out_of_a_runs_folder(client: TestClient, reports: Path, parts: list[str]) -> None:
    path = "/".join(quote(part, safe="", errors="surrogatepass") for part in parts)
    response = client.get(f"{RUNS}/run-1/{path}")
    assert response.status_code in (200, 404)
    assert "secret\n" not in response.text


def test_a_run_id_of_any_length_has_a_page(client: TestClient) -> None:
    assert "No step of this run has left anything to show" in client.get(f"{RUNS}/{'x' * 3000}/").text


def test_a_verdict_that_is_not_utf8_is_shown_as_far_as_it_can_be(client: TestClient, reports: Path) -> None:
    (reports / "verdict.txt").write_bytes(b"KEEP: caf\xe9\n")
    assert "KEEP: caf\N{REPLACEMENT CHARACTER}" in client.get(f"{RUNS}/run-1/").text


@pytest.mark.parametrize("target", ["../../secret.txt", "../run-2/verdict.txt", "verdict.txt", "/dev/stdin", "."])
def test_a_verdict_that_is_a_link_out_of_the_folder_is_not_shown(
    client: TestClient, reports: Path, target: str
) -> None:
    (reports.parent / "run-2").mkdir()
    (reports.parent / "run-2" / "verdict.txt").write_text("secret")
    (reports / "verdict.txt").symlink_to(target)
    assert "secret" not in client.get(f"{RUNS}/run-1/").text
    assert client.get(f"{RUNS}/run-1/verdict.txt").status_code == 404


def test_a_stranger_is_turned_away(stranger: TestClient) -> None:
    response = stranger.get(f"{RUNS}/run-1/")
    assert (response.status_code, "log in to Airflow" in response.text) == (401, True)


@pytest.mark.parametrize("path", ["", "evaluation.html"])
def test_who_may_read_another_dag_only_is_refused(reader: Client, path: str) -> None:
    assert reader(FOREIGN).get(f"{RUNS}/run-1/{path}").status_code == 403


@pytest.mark.parametrize("dag_id", ["~", FOREIGN, "no_such_dag"])
def test_no_other_dag_shows_a_run(reader: Client, dag_id: str) -> None:
    assert reader().get(f"/retraining/dags/{dag_id}/runs/run-1/evaluation.html").status_code == 404


@pytest.mark.parametrize("asked", ["manual__2026-11-23T10%3A00%3A00%2B00%3A00", FOLDER])
def test_a_run_of_one_dag_is_not_shown_with_another(reader: Client, reports: Path, run_of, asked: str) -> None:
    reports.rename(reports.parent / FOLDER)
    run_of(ROLLBACK, RUN_ID)
    shown = {
        dag: reader().get(f"/retraining/dags/{dag}/runs/{asked}/evaluation.html").status_code for dag in (DAG, ROLLBACK)
    }
    assert shown == {DAG: 404, ROLLBACK: 200}
