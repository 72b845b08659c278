"""The whole story on the services of docker-compose.yaml, by a person in a real browser, and over REST.

A schedule without a source; the first champion; the same file again; a second candidate that a person is asked about,
and approves; the asset's event, which starts the scoring of questions; the way back; and a second model.
"""

import csv
import json
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from airflow.sdk.exceptions import ParamValidationError
from playwright.sync_api import Locator, expect
from retraining.params import retraining_params

from ml.records import Answer, ApprovalUnneeded, ModelVersion
from ml.registry import CHAMPION_ALIAS
from ml.registry.local import LocalRegistry
from ml.source.sample import write_sample
from tests.airflow.notices.servers import PASSWORD, Webhook, connection, webhook
from tests.browser import Form, Person, browsing, needs_chromium
from tests.live import ANSWER_SECONDS, Airflow, Run, until, wait_for_question
from tests.production import PROJECT, SECRETS, needs_services, running_production
from tests.tiny import BETTER, write_learning_config

pytestmark = [needs_services, needs_chromium]
RETRAIN, SCORE, ROLLBACK, OTHER = "retrain_quora", "score_questions", "rollback_model", "retrain_toxic"
SECOND_MODEL = """
# Airflow retrains another model.
from retraining.dags import Model, retraining_dag

retrain_toxic = retraining_dag("retrain_toxic", Model("toxic"))
"""
FOCUS = """() => {
    const element = document.activeElement, style = getComputedStyle(element)
    return [element.id || element.textContent.trim(), style.outlineStyle, parseFloat(style.outlineWidth) >= 2]
}"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config, questions to score, and the same CSV for each of three days: midnight may be near."""
    folder = tmp_path_factory.mktemp("input")
    write_sample(folder / "questions.csv", rows=1500, seed=1)
    for days in (-1, 0, 1):
        (folder / f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}").mkdir()
    for day in folder.glob("*/"):
        shutil.copy(folder / "questions.csv", day)
    write_learning_config(folder, folder / "questions.csv")
    write_sample(folder / "week.csv", rows=300, seed=2)
    return folder


@pytest.fixture(scope="module")
def team() -> Iterator[Webhook]:
    """A webhook that the connection `team` leads to."""
    with webhook() as team:
        yield team


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, place: Path, python: str) -> Iterator[Airflow]:
    folder = tmp_path_factory.mktemp("production")
    dags = shutil.copytree(PROJECT / "dags", folder / "dags")
    (dags / "toxic.py").write_text(SECOND_MODEL)
    second_model = {"SINCERE__TOXIC__SCHEDULE": "source", "SINCERE__TOXIC__SOURCE": str(place / "toxic.csv")}
    with running_production(folder, python, **second_model) as airflow:
        for dag_id in (RETRAIN, SCORE, ROLLBACK, OTHER):
            until(lambda dag_id=dag_id: airflow.call("GET", f"/api/v2/dags/{dag_id}").ok, seconds=600, what=dag_id)
        yield airflow


@pytest.fixture(scope="module")
def registry(airflow: Airflow) -> LocalRegistry:
    return LocalRegistry(airflow.state / "registry")


@pytest.fixture(scope="module")
def person(airflow: Airflow) -> Iterator[Person]:
    with browsing(airflow) as person:
        yield person


@pytest.fixture(scope="module")
def form(person: Person) -> Form:
    return person.open_form(RETRAIN)


@pytest.fixture(scope="module")
def without_source(airflow: Airflow, person: Person) -> Run:
    """The run of a schedule that nobody has told its source, when it has ended."""
    person.rest()
    airflow.switch(RETRAIN, on=True)
    return airflow.only_run(RETRAIN, "scheduled")


@pytest.fixture(scope="module")
def first(airflow: Airflow, without_source: Run, place: Path, team: Webhook) -> Run:
    """The same run, cleared when Variables say what the schedule runs on, and who is told of what."""
    channel = json.loads(connection(team.address))
    body = {"connection_id": "team", "conn_type": channel["conn_type"], "extra": json.dumps(channel["extra"])}
    airflow.call("POST", "/api/v2/connections", **body).raise_for_status()
    told = {
        "sincere_config": str(place / "tiny.toml"),
        "sincere_source": f"{place}/{{{{ ds }}}}/questions.csv",
        "sincere_questions": str(place / "week.csv"),
        "sincere_score_output": str(place / "scored.csv"),
        "sincere_notify": "promoted,approval_wanted,rolled_back,rejected=team",
    }
    for key, value in told.items():
        airflow.call("POST", "/api/v2/variables", key=key, value=value).raise_for_status()
    again = {"dry_run": False, "only_failed": False, "dag_run_id": without_source["dag_run_id"]}
    airflow.call("POST", f"/api/v2/dags/{RETRAIN}/clearTaskInstances", **again).raise_for_status()
    return airflow.ended(RETRAIN, without_source["dag_run_id"])


@pytest.fixture(scope="module")
def asked(place: Path) -> dict[str, str]:
    """What a person asks for: the schedule's file and config."""
    return {"source": str(place / "questions.csv"), "config": str(place / "tiny.toml")}


@pytest.fixture(scope="module")
def again(person: Person, first: Run, asked: dict[str, str]) -> Run:
    """The run that the person triggers by the form, when it has ended."""
    form = person.open_form(RETRAIN)
    for name, section in {"source": "Data", "config": "Run"}.items():
        form.open_section(section)
        form.field(name).fill(asked[name])
    form.trigger()
    person.rest()
    return person.airflow.only_run(RETRAIN, "manual")


@pytest.fixture(scope="module")
def question(airflow: Airflow, person: Person, again: Run, asked: dict[str, str]) -> Mapping[str, Any]:
    """What a person is asked about another candidate."""
    person.rest()
    run_id = airflow.trigger(RETRAIN, **asked, **BETTER, approval="always")
    return wait_for_question(airflow, RETRAIN, run_id)


@pytest.fixture(scope="module")
def second(person: Person, question: Mapping[str, Any]) -> Run:
    """The run that a person has approved, when it has ended; `score_questions` waits for its event meanwhile."""
    person.airflow.switch(SCORE, on=True)
    run_id = _run_of(question)
    person.open(f"/dags/{RETRAIN}/runs/{quote(run_id)}/tasks/approve/required_actions")
    page = person.page
    expect(page.get_by_text("May the candidate replace champion v1?").first).to_be_visible()
    person.take_pictures("approve")
    page.locator("[name=element_reason]").fill("looks right")
    page.get_by_role("button", name="Approve", exact=True).click()
    person.rest()
    return person.airflow.ended(RETRAIN, run_id)


@pytest.fixture(scope="module")
def scored(airflow: Airflow, person: Person, second: Run) -> Run:
    """The run that the asset's event started, since the champion is another one, when it has ended."""
    person.rest()
    return airflow.only_run(SCORE, "asset_triggered")


@pytest.fixture(scope="module")
def back(airflow: Airflow, person: Person, scored: Run) -> Run:
    """The rollback, when it has ended."""
    person.rest()
    airflow.switch(SCORE, on=False)
    airflow.switch(ROLLBACK, on=True)
    return airflow.ended(ROLLBACK, airflow.trigger(ROLLBACK, reason="users complained"))


def test_all_parts_are_healthy(airflow: Airflow) -> None:
    def healthy() -> bool:
        health = airflow.get("/api/v2/monitor/health")
        return {part["status"] for part in health.values()} == {"healthy"} and len(health) == 4

    assert until(healthy, seconds=60, what="every part", told=airflow.said)


def test_the_list_shows_the_dag_paused_and_its_switch_starts_the_schedule(person: Person) -> None:
    person.open("/dags")
    switch = _row(person, RETRAIN).get_by_role("checkbox")
    expect(switch).not_to_be_checked()
    person.take_pictures("dags")
    switch.locator("xpath=..").click()
    expect(switch).to_be_checked()
    until(lambda: not person.airflow.get(f"/api/v2/dags/{RETRAIN}")["is_paused"], seconds=30, what="the schedule")


def test_the_form_has_sections_with_what_is_usual(person: Person, form: Form) -> None:
    usual = {
        "Data": "or sample:ROWS for a generated one",
        "Split": "Share of the rows for training.",
        "Training": "Empty: 2, from the config local.",
        "Run": "Empty: never, from the config local.",
    }
    for section, words in usual.items():
        form.open_section(section)
        expect(form.dialog.get_by_text(words).first).to_be_visible()
    expect(form.field("config")).to_have_value("local")
    expect(form.field("source")).to_have_value("")
    person.take_pictures("form")


def test_a_wrong_number_is_put_right_by_the_form_and_refused_elsewhere_with_its_bound(
    airflow: Airflow, form: Form
) -> None:
    form.open_section("Training")
    expect(form.dialog.get_by_text("From 1 to 100.").first).to_be_visible()
    form.field("epochs").fill("101")
    form.field("epochs").press("Tab")
    expect(form.field("epochs")).to_have_value("100")
    words = "Invalid input for param epochs: 101 is greater than the maximum of 100"
    refused = airflow.call("POST", f"/api/v2/dags/{RETRAIN}/dagRuns", logical_date=None, conf={"epochs": 101})
    assert (refused.status_code, refused.json()["detail"].splitlines()[0]) == (400, words)
    with pytest.raises(ParamValidationError, match="101 is greater than the maximum of 100"):
        retraining_params()["epochs"].resolve(101)  # as `airflow dags test` does


def test_a_scheduled_run_without_a_source_fails_at_once_and_says_what_to_set(
    airflow: Airflow, without_source: Run
) -> None:
    assert without_source["state"] == "failed"
    tasks = airflow.tasks(RETRAIN, without_source["dag_run_id"])
    assert {task["task_id"] for task in tasks if task["state"] == "failed"} == {"snapshot", "failed"}
    assert [task["try_number"] for task in tasks if task["task_id"] == "snapshot"] == [1]
    assert "set SINCERE_SOURCE" in airflow.call("GET", _page(without_source)).text


def test_a_scheduled_run_reads_the_file_of_its_date_and_ends_with_a_champion(
    first: Run, registry: LocalRegistry
) -> None:
    assert (first["run_type"], first["state"], first["conf"]) == ("scheduled", "success", {})
    assert first["note"].startswith("**Promoted**: There is no champion yet")
    assert _history(registry) == [("v1", "promote", True)]
    (entry,) = registry.history()
    assert (entry.triggered_by, entry.source.name) == ("Airflow, scheduled run", "file:questions.csv")


def test_training_and_evaluation_went_to_the_queue_of_the_gpu(airflow: Airflow, first: Run) -> None:
    tasks = airflow.tasks(RETRAIN, first["dag_run_id"])
    queues = {task["task_id"]: task["queue"] for task in tasks if task["queue"] != "default"}
    assert queues == {"train": "gpu", "evaluate": "gpu"}


def test_the_log_of_a_worker_is_shown(airflow: Airflow, first: Run) -> None:
    log = airflow.get(f"/api/v2/dags/{RETRAIN}/dagRuns/{first['dag_run_id']}/taskInstances/train/logs/1")
    assert "exporting the model" in str(log)


def test_who_may_read_the_dag_sees_the_verdict(airflow: Airflow, first: Run) -> None:
    assert "<h1>Promoted</h1>" in airflow.call("GET", _page(first)).text
    assert requests.get(airflow.url + _page(first), timeout=ANSWER_SECONDS).status_code == 401


def test_the_runs_own_tab_tells_the_verdict(person: Person, first: Run) -> None:
    person.open_report(RETRAIN, first["dag_run_id"])
    person.expect_heading("Promoted")
    expect(person.frame().get_by_role("heading", name="Side by side")).to_be_visible()
    person.take_pictures("run")


def test_the_grid_tells_how_the_run_ended(person: Person, first: Run) -> None:
    states = {task["task_id"]: task["state"] for task in person.airflow.tasks(RETRAIN, first["dag_run_id"])}
    assert [task for task in ("promoted", "kept", "failed") if states[task] == "success"] == ["promoted"]
    person.open(f"/dags/{RETRAIN}")
    expect(person.page.get_by_text("promoted", exact=True).first).to_be_visible()


def test_a_run_takes_what_the_form_asks_and_the_same_file_again_is_no_work(
    airflow: Airflow, again: Run, asked: dict[str, str], registry: LocalRegistry
) -> None:
    assert again["state"] == "success"
    assert asked.items() <= again["conf"].items()
    assert "<h1>Unchanged</h1>" in airflow.call("GET", _page(again)).text
    assert _champion(registry) == "v1"


def test_the_question_has_the_facts_and_a_way_to_the_report(airflow: Airflow, question: Mapping[str, Any]) -> None:
    assert question["subject"] == "May the candidate replace champion v1?"
    assert "the setting approval = always" in question["body"].replace("\\", "")
    assert "| precision |" in question["body"]
    assert f"[The run's report]({_report(airflow, RETRAIN, _run_of(question))})" in question["body"]


def test_while_a_person_is_asked_the_report_says_what_waits(person: Person, question: Mapping[str, Any]) -> None:
    person.open_report(RETRAIN, _run_of(question))
    person.expect_heading("A person is asked")
    answers = f"/dags/{RETRAIN}/runs/{quote(_run_of(question), safe='')}/tasks/approve/required_actions"
    expect(person.frame().get_by_role("link", name="The question, and its answers")).to_have_attribute("href", answers)
    person.take_pictures("report-waiting")


def test_the_approval_moves_the_alias_and_stands_in_the_history(second: Run, registry: LocalRegistry) -> None:
    assert second["state"] == "success"
    assert second["note"].startswith("**Promoted**: ")
    assert "Approved by admin (looks right)" in second["note"]
    assert [entry for entry in _history(registry) if entry[2]] == [("v1", "promote", True), ("v2", "promote", True)]
    assert _champion(registry) == "v2"
    before, *_, entry = registry.history()
    assert isinstance(before.approval, ApprovalUnneeded)
    assert isinstance(entry.approval, Answer)
    assert (entry.approval.by, entry.approval.reason) == ("admin", "looks right")


def test_the_champions_asset_has_an_event_for_each_promotion(airflow: Airflow, first: Run, second: Run) -> None:
    assert _events(airflow)[:2] == [
        ("v1", "promoted", _report(airflow, RETRAIN, first["dag_run_id"])),
        ("v2", "promoted", _report(airflow, RETRAIN, second["dag_run_id"])),
    ]


def test_the_pages_show_the_new_champion_and_who_approved(person: Person, second: Run) -> None:
    person.open_report(RETRAIN, second["dag_run_id"])
    person.expect_heading("Promoted")
    person.take_pictures("report")
    person.frame().get_by_role("heading", name="How sure the differences are").scroll_into_view_if_needed()
    person.take_pictures("report-below")
    person.open(f"/dags/{RETRAIN}/plugin/promotions")
    expect(person.frame().locator(".big")).to_have_text("v2")
    expect(person.frame().get_by_text("Approved by admin (looks right)").first).to_be_visible()
    person.take_pictures("promotions")
    person.open(f"/dags/{RETRAIN}/plugin/data-quality")
    expect(person.frame().get_by_text("The newest 2 runs that were checked")).to_be_visible()
    person.take_pictures("data-quality")
    person.open("/plugin/models")
    expect(person.frame().locator(".big")).to_have_text("v2")
    person.take_pictures("models")


def test_a_new_champion_scores_the_questions(scored: Run, place: Path) -> None:
    assert scored["state"] == "success"
    questions, answers = _rows(place / "week.csv"), _rows(place / "scored.csv")
    assert [row["qid"] for row in answers] == [row["qid"] for row in questions]
    assert [*answers[0]] == ["qid", "question_text", "target", "probability", "label"]
    assert {row["label"] for row in answers} <= {"0", "1"}
    assert all(0 <= float(row["probability"]) <= 1 for row in answers)


def test_the_scoring_has_a_report_and_a_note_of_its_own(person: Person, scored: Run) -> None:
    assert scored["note"].startswith(("**Scored**: ", "**Drift**: "))
    assert "v2 flags" in scored["note"]
    person.open_report(SCORE, scored["dag_run_id"])
    expect(person.frame().get_by_text("of 300 questions of file:week.csv").first).to_be_visible()
    person.take_pictures("scoring")


def test_the_way_back_is_seen_everywhere(airflow: Airflow, person: Person, back: Run, registry: LocalRegistry) -> None:
    assert back["state"] == "success"
    assert back["note"].startswith("**Rolled back**: users complained")
    assert _champion(registry) == "v1"
    assert _history(registry)[-1] == ("v1", "rollback", True)
    assert _events(airflow)[2:] == [("v1", "rolled back", _report(airflow, ROLLBACK, back["dag_run_id"]))]
    person.open_report(ROLLBACK, back["dag_run_id"])
    person.expect_heading("Rolled back")
    person.take_pictures("rollback")
    person.open(f"/dags/{RETRAIN}/plugin/promotions")
    expect(person.frame().locator(".big")).to_have_text("v1")
    expect(person.frame().get_by_text("users complained").first).to_be_visible()
    person.open("/plugin/models")
    expect(person.frame().locator(".big")).to_have_text("v1")


@pytest.mark.usefixtures("back")
def test_people_were_told_once_of_what_they_want_to_hear_and_where_to_look(
    airflow: Airflow, team: Webhook, first: Run, second: Run, back: Run
) -> None:
    # A task that has ended tells so after Airflow knows of its end.
    until(lambda: len(team.titles) >= 4, seconds=60, what="the last notice", told=airflow.said)
    assert [(each["title"], each["message"].split("\n")[-1]) for each in team.posted] == [
        ("Promoted: v1 is the champion now (before: none)", f"Where: {_report(airflow, RETRAIN, first['dag_run_id'])}"),
        (
            "Approval wanted: may the candidate become the champion (now: v1)?",
            f"Where: {_report(airflow, RETRAIN, second['dag_run_id'])}",
        ),
        ("Promoted: v2 is the champion now (before: v1)", f"Where: {_report(airflow, RETRAIN, second['dag_run_id'])}"),
        (
            "Rolled back: v1 is the champion again (before: v2)",
            f"Where: {_report(airflow, ROLLBACK, back['dag_run_id'])}",
        ),
    ]


def test_a_page_is_used_by_keyboard_and_the_focus_is_seen(person: Person, back: Run) -> None:
    page = person.page
    person.open(f"/dags/{RETRAIN}/plugin/promotions")
    expect(person.frame().locator(".big")).to_have_text("v1")
    inside = person.scripted_frame()
    page.get_by_role("link", name="Data quality", exact=True).focus()
    seen: dict[str, tuple[str, bool]] = {}
    for _ in range(8):
        page.keyboard.press("Tab")
        name, outline, wide = inside.evaluate(FOCUS)
        seen[name] = (outline, wide)
    assert [seen.get(name) for name in ("As a table", "q", "Search", "Why")] == [("solid", True)] * 4
    inside.locator("#q").focus()
    page.keyboard.type("users complained")
    page.keyboard.press("Enter")
    expect(person.frame().get_by_text("1 of ")).to_be_visible()


def test_the_pages_follow_the_uis_own_switch_of_its_theme_at_once(person: Person, back: Run) -> None:
    page = person.page
    person.open(f"/dags/{RETRAIN}/plugin/promotions")
    expect(person.frame().locator(".big")).to_have_text("v1")
    inside = person.scripted_frame()
    inside.evaluate("window.sameAsBefore = true")
    grounds = []
    for mode in ("Dark", "Light"):
        page.get_by_role("button", name="User").click()
        page.get_by_text("Appearance").click()
        page.get_by_text(f"{mode} Mode").click()
        expect(person.frame().locator("html")).to_have_attribute("data-theme", mode.lower())
        grounds.append(inside.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor"))
    assert grounds[0] != grounds[1]
    assert inside.evaluate("window.sameAsBefore")


@pytest.fixture(scope="module")
def event(person: Person, place: Path, back: Run) -> Run:
    """The run of a second model that an event of its source has started, when it has ended: there is no file."""
    person.rest()
    airflow, source = person.airflow, (place / "toxic.csv").as_uri()
    airflow.switch(OTHER, on=True)
    (asset,) = [asset for asset in airflow.get("/api/v2/assets")["assets"] if asset["uri"] == source]
    airflow.call("POST", "/api/v2/assets/events", asset_id=asset["id"]).raise_for_status()
    return airflow.only_run(OTHER, "asset_triggered")


def test_an_event_of_its_source_starts_a_run_of_a_second_model(
    airflow: Airflow, event: Run, team: Webhook, registry: LocalRegistry
) -> None:
    assert (event["state"], event["conf"]) == ("failed", {})
    assert event["note"].startswith("**Rejected**: ")
    assert (airflow.state / "models" / "toxic" / "reports").is_dir()
    assert _champion(registry) == "v1"
    until(lambda: team.titles[-1].startswith("toxic: "), seconds=60, what="the notice")
    assert team.titles[-1] == "toxic: Rejected: the step snapshot refused the data"


def test_each_model_stands_with_its_own_champion(person: Person, event: Run) -> None:
    person.open("/plugin/models")
    card = person.frame().locator("section.card")
    expect(card.filter(has_text=RETRAIN).locator(".big")).to_have_text("v1")
    expect(card.filter(has_text=OTHER).get_by_text("No champion yet.")).to_be_visible()
    person.take_pictures("two-models")
    person.open_report(OTHER, event["dag_run_id"])
    person.expect_heading("Rejected")


def test_no_tab_stands_where_it_has_nothing_to_say(person: Person, scored: Run) -> None:
    person.open(f"/dags/{SCORE}")
    expect(person.page.get_by_role("link", name="Runs", exact=True)).to_be_visible()
    for name in ("Promotions", "Data quality"):
        expect(person.page.get_by_role("link", name=name, exact=True)).to_be_hidden()


@pytest.mark.usefixtures("event")
def test_no_part_logs_a_secret(airflow: Airflow) -> None:
    told = "".join(path.read_text(errors="replace") for path in airflow.logs.rglob("*.log"))
    secrets = {**SECRETS, "the webhook's password": PASSWORD}
    assert [name for name, secret in secrets.items() if secret in told] == []


def _row(person: Person, dag_id: str) -> Locator:
    """Return what the list has on one DAG: the smallest element with its link and its switch."""
    page = person.page
    whole = page.locator("div").filter(has=page.get_by_role("link", name=dag_id, exact=True))
    return whole.filter(has=page.get_by_role("checkbox")).last


def _run_of(question: Mapping[str, Any]) -> str:
    return str(question["task_instance"]["dag_run_id"])


def _page(run: Run) -> str:
    """Return the address of the page that the run's own tab shows."""
    return f"/retraining/dags/{RETRAIN}/runs/{run['dag_run_id']}/"


def _report(airflow: Airflow, dag_id: str, run_id: str) -> str:
    return f"{airflow.url}/dags/{dag_id}/runs/{quote(run_id, safe='')}/plugin/report"


def _events(airflow: Airflow) -> list[tuple[str, str, str]]:
    events = airflow.get("/api/v2/assets/events?order_by=timestamp")["asset_events"]
    return [tuple(event["extra"][name] for name in ("version", "verdict", "report")) for event in events]


def _history(registry: LocalRegistry) -> list[tuple[str, str, bool]]:
    return [(entry.version, entry.verdict, entry.promoted) for entry in registry.history()]


def _champion(registry: LocalRegistry) -> str:
    champion = registry.resolve(CHAMPION_ALIAS)
    assert isinstance(champion, ModelVersion)
    return champion.version


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
