"""A run's report page: what it says of each end of a run, from records that steps kept."""

from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
import wandb
from fastapi.testclient import TestClient

from ml.records import (
    Curves,
    DataCheck,
    DataQuality,
    ModelVersion,
    NotMeasured,
    ObservedCheck,
    Promotion,
    RawSnapshot,
    RunOutcome,
    ToldSettings,
    TrackedRun,
    digest,
    to_json,
)
from ml.registry import CHAMPION_ALIAS
from ml.run import Run
from ml.store.files import write_whole
from tests.airflow.pages.places import DAG, Client
from tests.judge.examples import EVIDENCE, PROBE, RIVAL, compare, judged, open_run

RUN_ID = "run-1"
ADDRESS = f"/retraining/dags/{DAG}/runs/{RUN_ID}/"
HOSTILE = "</td><script>alert(1)</script>{{ 7*7 }}"
COMPARED = compare("a" * 64, RIVAL, precision=0.64)
DECISION = judged(COMPARED)
V1, V2 = ModelVersion(version="v1", model="c" * 64), ModelVersion(version="v2", model="a" * 64)
ENDED = RunOutcome(outcome="kept", step="promote", reason=DECISION.reason, lines=("production: v1, as before",))
TOLD = ToldSettings(
    preset="local", different={"train.epochs": "4"}, triggered_by="Airflow, by eve", dry_run=False, force=False
)


def check(name: str, *, passed: bool, docs: str = "data_docs") -> ObservedCheck:
    found = DataCheck(name=name, column="table", severity="warning", passed=passed, observed="0.42")
    note = "a part of the export is missing"
    return ObservedCheck(docs=docs, check=found, required="at most 0.05", note=note, value=NotMeasured())


def keep_checks(run: Run, *checks: ObservedCheck) -> None:
    quality = DataQuality(run_id=RUN_ID, time="2026-01-04", snapshot="1" * 64, rows=5, checks=checks)
    write_whole(run.report_folder / "data_quality" / "validate.json", to_json(quality))


def promotion(*, promoted: bool) -> Promotion:
    return Promotion(
        promoted=promoted,
        verdict="promote" if promoted else "keep",
        candidate=V2,
        alias="production",
        previous=V1,
        decision=digest(DECISION),
    )


@pytest.fixture
def run(home: Path) -> Run:
    return replace(open_run(home), run_id=RUN_ID, reports=home / "reports")


@pytest.fixture
def ended(run: Run) -> Run:
    """A run that kept the champion."""
    for record in (ENDED, TOLD, COMPARED, DECISION, EVIDENCE, PROBE, promotion(promoted=False)):
        run.keep_for_page(record)
    run.keep_for_page(
        Curves(recall=(0.0, 0.5, 1.0), precision=dict.fromkeys(("candidate", "champion", "baseline"), (1.0, 0.8, 0.1)))
    )
    keep_checks(
        run,
        check("ids that vanished", passed=False, docs="data_docs_change"),
        check("growth", passed=True, docs="data_docs_change"),
        check("label balance", passed=True),
    )
    return run


@pytest.fixture
def client(reader: Client) -> TestClient:
    return reader()


@pytest.fixture
def state_of_run() -> Iterator[object]:
    """Give Airflow's database a run with tasks in these states."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import delete, insert

    def add(state: str, **tasks: str) -> None:
        with create_session() as session:
            session.add(DagRun(dag_id=DAG, run_id=RUN_ID, run_type="manual", state=state))
            session.flush()
            for task, task_state in tasks.items():
                row = {"task_id": task, "dag_id": DAG, "run_id": RUN_ID, "state": task_state, "try_number": 2}
                session.execute(insert(TaskInstance).values(map_index=-1, max_tries=3, pool="default", **row))

    yield add
    with create_session() as session:
        session.execute(delete(TaskInstance))
        session.execute(delete(DagRun))


def page(client: TestClient) -> str:
    response = client.get(ADDRESS)
    assert response.status_code == 200, response.text
    return response.text


@pytest.mark.usefixtures("ended")
def test_the_verdict_comes_first_with_its_reason_and_who_started_the_run(client: TestClient) -> None:
    text = page(client)
    assert "<h1>Kept</h1>" in text
    for told in (DECISION.reason, "production: v1, as before", "Airflow, by eve"):
        assert told in text


@pytest.mark.usefixtures("ended")
def test_every_check_stands_with_what_was_observed_and_required(client: TestClient) -> None:
    text = unescape(page(client))
    for rule in DECISION.checks:
        assert f"<td>{rule.rule}</td><td>{rule.observed}</td><td>{rule.required}</td>" in text
    assert text.count('class="bad" role="img" aria-label="does not hold"') == 2  # precision gain, ids that vanished


@pytest.mark.usefixtures("ended")
def test_the_models_stand_side_by_side_with_their_curves(client: TestClient) -> None:
    text = page(client)
    assert "champion v1</th>" in text
    assert '<td class="number">0.6400</td><td class="number">0.6500</td><td class="number">0.5000</td>' in text
    assert text.count("<polyline points=") == 3
    assert 'points="40.0,8.0 245.0,59.6 450.0,240.2"' in text


@pytest.mark.usefixtures("ended")
def test_intervals_slices_and_costs_are_there(client: TestClient) -> None:
    text = page(client)
    for told in ("+0.0500", "+0.0200", "+0.0800", "0.95 confidence", "p = 0.0022", "up to 8 words", "1.00 x"):
        assert told in text
    assert text.count('<svg class="bar"') == 18  # eight figures, ten slices


@pytest.mark.usefixtures("ended")
def test_what_changed_in_the_data_stands_with_what_it_means(client: TestClient) -> None:
    text = page(client)
    assert "Since the champion" in text
    assert "ids that vanished" in text and "a part of the export is missing" in text
    assert "All 1 expectations of the file and its splits hold." in text


@pytest.mark.usefixtures("ended")
def test_what_the_run_was_told_is_what_differs_from_the_preset(client: TestClient) -> None:
    text = page(client)
    assert '<td><code>train.epochs</code></td><td class="value">4</td>' in text


@pytest.mark.usefixtures("ended")
def test_it_can_be_judged_again_by_a_command(client: TestClient) -> None:
    command = f'python -m ml replay "${{SINCERE_HOME:-var}}"/store/decisions/{digest(DECISION)}/decision.json'
    assert command in unescape(page(client))
    assert "ml rollback" not in page(client)


def test_a_promotion_can_be_taken_back_by_a_command(client: TestClient, ended: Run) -> None:
    ended.keep_for_page(promotion(promoted=True))
    assert "python -m ml rollback --to v1 --reason 'WHY'" in unescape(page(client))


def test_runs_in_wandb_are_linked_and_no_other_scheme_is(client: TestClient, ended: Run) -> None:
    for step, url in (("train", "https://wandb.ai/a/b/runs/c"), ("split", "javascript:alert(1)")):
        ended.keep_for_page(TrackedRun(step=step, url=url), name=f"tracked-{step}")
    text = page(client)
    assert (
        '<a href="https://wandb.ai/a/b/runs/c" rel="noreferrer" target="_blank">W&amp;B: the run of train</a>' in text
    )
    assert "javascript:" not in text


def test_a_version_in_wandb_is_linked_where_wandb_itself_says_that_it_is(
    client: TestClient, ended: Run, wandb_server, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb_server.state.put("insincere", {"weights": b"first"}, schema=1, model="1" * 64, aliases=[CHAMPION_ALIAS])
    monkeypatch.setenv("SINCERE_REGISTRY", "wandb://acme/quora/insincere?timeout_seconds=5")
    ended.keep_for_page(replace(promotion(promoted=True), candidate=replace(V2, version="v0")))
    url = wandb.Api().artifact("acme/quora/insincere:v0").url
    text = page(client)
    assert f'<a href="{url}" rel="noreferrer" target="_blank">Version v0</a>' in text
    assert "<code>wandb://acme/quora/insincere</code>" in text


def test_a_report_needs_no_answer_of_wandb(
    client: TestClient, ended: Run, wandb_server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SINCERE_REGISTRY", "wandb://acme/quora/insincere")
    wandb_server.fail(status=503)
    assert "Version v2</a>, not promoted, in <code>wandb://acme/quora/insincere</code>" in page(client)


def test_a_failure_says_which_step_why_and_what_to_do(client: TestClient, run: Run) -> None:
    lines = ("where: a.csv", "what to do: correct the source")
    run.keep_for_page(RunOutcome(outcome="rejected", step="validate", reason="7 rows are bad", lines=lines))
    text = page(client)
    for told in ("<h1>Rejected</h1>", "7 rows are bad", "what to do: correct the source", "<code>validate</code>"):
        assert told in text


def test_a_run_that_goes_on_says_what_is_done_and_what_is_at_work(client: TestClient, run: Run, state_of_run) -> None:
    run.keep_for_page(
        RawSnapshot(source="file:a.csv", sha256="a" * 64, rows=5, columns=("q",), bytes=9, quarantined_rows=0)
    )
    state_of_run("running", snapshot="success", train="running")
    text = page(client)
    assert "This run goes on" in text
    assert "At work now: <code>train</code> (try 2)" in text
    assert "snapshot aaaaaaaaaaaa: 5 rows, 9 bytes from file:a.csv" in text


@pytest.mark.parametrize(
    ("state", "heading"), [("awaiting_input", "A person is asked"), ("queued", "Decided, not carried out yet")]
)
def test_a_decision_that_waits_is_not_shown_as_the_end(
    client: TestClient, run: Run, state_of_run, state: str, heading: str
) -> None:
    run.keep_for_page(RunOutcome(outcome="decided", step="decide", reason="blocked: nobody has approved", lines=()))
    state_of_run("running", decide="success", approve=state)
    text = page(client)
    assert f"<h1>{heading}</h1>" in text
    assert "blocked: nobody has approved" in text
    assert ("tasks/approve/required_actions" in text) == (state == "awaiting_input")


@pytest.mark.parametrize("left", [True, False])
def test_a_run_whose_step_was_killed_names_the_task_whatever_an_earlier_try_left(
    client: TestClient, run: Run, state_of_run, left: bool
) -> None:
    if left:
        run.keep_for_page(ENDED)
    state_of_run("failed", train="failed", failed="failed")
    text = page(client)
    assert "<h1>Failed</h1>" in text
    assert "the task train ended the run: its log says why" in text


def test_nothing_of_a_record_becomes_markup(client: TestClient, run: Run) -> None:
    run.keep_for_page(RunOutcome(outcome="kept", step=HOSTILE, reason=HOSTILE, lines=(HOSTILE,)))
    run.keep_for_page(replace(TOLD, preset=HOSTILE, different={HOSTILE: HOSTILE}, triggered_by=HOSTILE))
    run.keep_for_page(replace(DECISION, alarms=(HOSTILE,), remarks=(HOSTILE,)))
    hostile = replace(check(HOSTILE, passed=False), required=HOSTILE, note=HOSTILE)
    keep_checks(run, hostile)
    response = client.get(ADDRESS)
    assert "<script>alert" not in response.text
    assert "49" not in response.text.replace("249", "")
    assert unescape(response.text).count(HOSTILE) >= 10
    assert "script-src 'self'" in response.headers["content-security-policy"]


@pytest.mark.parametrize("damage", [b"{", b"\xff", b'{"record":"RunOutcome","schema":1}', b"[]"])
def test_a_damaged_record_is_left_out(client: TestClient, ended: Run, damage: bytes) -> None:
    (ended.report_folder / "page" / "Decision.json").write_bytes(damage)
    (ended.report_folder / "page" / "RunOutcome.json").write_bytes(damage)
    assert "Side by side" in page(client)


def test_a_record_that_is_a_link_out_of_the_folder_is_not_read(client: TestClient, ended: Run, home: Path) -> None:
    told = ended.report_folder / "page" / "ToldSettings.json"
    told.rename(home / "ToldSettings.json")
    told.symlink_to(home / "ToldSettings.json")
    assert "train.epochs" not in page(client)
