"""The reports in Airflow's UI: where the link leads, who may read them, and which files are never served."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from retraining.reports import PREFIX, ReportsLink, RetrainingPlugin, _respond


@pytest.fixture(autouse=True)
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "reports" / "run-1"
    folder.mkdir(parents=True)
    (folder / "evaluation.html").write_text("<h1>Evaluation</h1>")
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    return folder


def test_the_link_leads_to_the_folder_of_the_run() -> None:
    key = SimpleNamespace(run_id="manual__2026-11-23T10:00:00+00:00")
    assert ReportsLink().get_link(None, ti_key=key) == f"{PREFIX}/manual__2026-11-23T10_00_00_00_00/"


def test_a_run_has_a_tab_that_leads_to_its_folder(reports: Path) -> None:
    (tab,) = RetrainingPlugin().external_views
    run_id = "manual__2026-11-23T10:00:00+00:00"
    reports.rename(reports.parent / "manual__2026-11-23T10_00_00_00_00")
    path = tab["href"].replace("{RUN_ID}", run_id).removeprefix(f"{PREFIX}/")
    assert "evaluation.html" in _respond(path).body.decode()


def test_a_run_lists_the_pages_that_it_has_by_what_they_show() -> None:
    overview = _respond("run-1/").body.decode()
    assert '<a href="evaluation.html">Evaluation: the verdict, and the models side by side</a>' in overview
    assert "exploration.html" not in overview


def test_the_verdict_stands_below_the_pages(reports: Path) -> None:
    (reports / "verdict.txt").write_text("KEEP: recall 0.6 < 0.7\n")
    assert "<pre>KEEP: recall 0.6 &lt; 0.7\n</pre>" in _respond("run-1/").body.decode()


def test_a_run_without_reports_says_so() -> None:
    assert "none yet" in _respond("run-2/").body.decode()


def test_no_script_of_a_page_is_run_and_its_links_keep_the_session(reports: Path) -> None:
    response = _respond("run-1/evaluation.html")
    assert Path(response.path) == reports / "evaluation.html"
    policy = response.headers["content-security-policy"].split("; ")
    assert "default-src 'none'" in policy
    assert [rule for rule in policy if rule.startswith(("script-src", "sandbox"))] == []


@pytest.mark.parametrize(
    "path", ["../secret.txt", "run-1/../../secret.txt", "/etc/passwd", "run-1/data_docs", "run-2/evaluation.html"]
)
def test_nothing_outside_the_reports_is_served(path: str) -> None:
    from fastapi import HTTPException

    with pytest.raises(HTTPException, match="404"):
        _respond(path)


@pytest.mark.parametrize(
    "path", ["run-1/a\0b", f"run-1/{'x' * 300}", f"run-1/{'x/' * 3000}", "run-1/loop/a", "run-1/loop", "\0/a"]
)
def test_a_path_that_no_file_can_have_is_not_found(reports: Path, path: str) -> None:
    from fastapi import HTTPException

    (reports / "loop").symlink_to("loop")
    with pytest.raises(HTTPException, match="404"):
        _respond(path)


def test_a_run_id_of_any_length_has_a_folder(reports: Path) -> None:
    assert "none yet" in _respond(f"{'x' * 3000}/").body.decode()


def test_a_verdict_that_is_not_utf8_is_shown_as_far_as_it_can_be(reports: Path) -> None:
    (reports / "verdict.txt").write_bytes(b"KEEP: caf\xe9\n")
    assert "KEEP: caf\N{REPLACEMENT CHARACTER}" in _respond("run-1/").body.decode()


@pytest.mark.parametrize("target", ["../../secret.txt", "../run-2/verdict.txt", "verdict.txt", "/dev/stdin", "."])
def test_a_verdict_that_is_a_link_out_of_the_folder_is_not_shown(reports: Path, target: str) -> None:
    from fastapi import HTTPException

    (reports.parent / "run-2").mkdir()
    (reports.parent / "run-2" / "verdict.txt").write_text("secret")
    (reports / "verdict.txt").symlink_to(target)
    assert "secret" not in _respond("run-1/").body.decode()
    with pytest.raises(HTTPException, match="404"):
        _respond("run-1/verdict.txt")


@pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated")
def test_a_stranger_is_turned_away() -> None:
    from fastapi.testclient import TestClient

    app = RetrainingPlugin().fastapi_apps[0]["app"]
    assert TestClient(app).get("/run-1/").status_code == 401
