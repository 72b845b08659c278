"""The whole story on the Airflow that `make up` starts: over REST, and by a person in a real browser.

A first champion; a second candidate that a person is asked about, and approves; the asset's event, which starts the
scoring of questions; and the way back.
"""

import csv
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow.sdk.exceptions import ParamValidationError
from playwright.sync_api import Locator, expect
from retraining.params import retraining_params

from ml.records import Answer, ApprovalUnneeded, ModelVersion
from ml.registry import CHAMPION_ALIAS
from ml.registry.local import LocalRegistry
from ml.source.sample import write_sample
from tests.airflow.notices.servers import Webhook, connection, webhook
from tests.browser import Person, browsing, needs_chromium
from tests.live import Airflow, running_airflow, until, wait_for_question
from tests.tiny import BETTER, write_learning_config

pytestmark = needs_chromium
RETRAIN, SCORE, ROLLBACK = "retrain_quora", "score_questions", "rollback_model"
PROJECT = Path(__file__).parents[2]
SECOND_MODEL = """
# Airflow retrains another model.
from retraining.dags import Model, retraining_dag

retrain_toxic = retraining_dag("retrain_toxic", Model("toxic"))
"""
OTHER = "retrain_toxic"
FOCUS = """() => {
    const element = document.activeElement, style = getComputedStyle(element)
    return [element.id || element.textContent.trim(), style.outlineStyle, parseFloat(style.outlineWidth) >= 2]
}"""
SLOW = 600  # seconds that a run may take on a busy machine
Run = dict[str, Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the questions to train on, those to score, and a config."""
    folder = tmp_path_factory.mktemp("input")
    write_sample(folder / "questions.csv", rows=1500, seed=1)
    write_sample(folder / "week.csv", rows=300, seed=2)
    write_learning_config(folder, folder / "questions.csv")
    return folder


@pytest.fixture(scope="module")
def team() -> Iterator[Webhook]:
    """A webhook that is told everything."""
    with webhook() as team:
        yield team


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, team: Webhook, place: Path, python: str) -> Iterator[Airflow]:
    told = {
        "SINCERE_NOTIFY": "all=team",
        "AIRFLOW_CONN_TEAM": connection(team.address),
        "SINCERE_QUESTIONS": str(place / "week.csv"),
        "SINCERE_SCORE_OUTPUT": str(place / "scored.csv"),
        "SINCERE__TOXIC__SCHEDULE": "source",
        "SINCERE__TOXIC__SOURCE": str(place / "toxic.csv"),
    }
    dags = shutil.copytree(PROJECT / "dags", place / "dags")
    (dags / "toxic.py").write_text(SECOND_MODEL)
    folder = tmp_path_factory.mktemp("live")
    with running_airflow(folder, f"AIRFLOW__CORE__DAGS_FOLDER={dags}", ML_PYTHON=python, **told) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def registry(airflow: Airflow) -> LocalRegistry:
    return LocalRegistry(airflow.state / "registry")


@pytest.fixture(scope="module")
def person(airflow: Airflow) -> Iterator[Person]:
    with browsing(airflow) as person:
        yield person


@pytest.fixture(scope="module")
def form(person: Person) -> Locator:
    person.open(f"/dags/{RETRAIN}")
    person.page.get_by_role("button", name="Trigger").first.click()
    return person.page.get_by_role("dialog")


@pytest.fixture(scope="module")
def asked(place: Path) -> dict[str, str]:
    """What the person types into the form."""
    return {"source": str(place / "questions.csv"), "config": str(place / "tiny.toml")}


@pytest.fixture(scope="module")
def first(person: Person, form: Locator, asked: dict[str, str]) -> Run:
    """The run that the person triggers by the form, when it has ended."""
    for name, section in {"source": "Data", "config": "Run"}.items():
        _open_section(form, section)
        _field(form, name).fill(asked[name])
    form.get_by_role("button", name="Trigger").click()
    expect(form).to_be_hidden()
    _rest(person)
    (run_id,) = until(lambda: _runs(person.airflow, RETRAIN), seconds=60, what="the run")
    return _ended(person.airflow, RETRAIN, run_id)


@pytest.fixture(scope="module")
def question(airflow: Airflow, person: Person, first: Run, asked: dict[str, str]) -> Mapping[str, Any]:
    """What a person is asked about another candidate."""
    _rest(person)
    run_id = _trigger(airflow, RETRAIN, **asked, **BETTER, approval="always")
    return wait_for_question(airflow, RETRAIN, run_id, seconds=SLOW)


@pytest.fixture(scope="module")
def second(person: Person, question: Mapping[str, Any]) -> Run:
    """The run that a person has approved, when it has ended; `score_questions` waits for its event meanwhile."""
    person.airflow.call("PATCH", f"/api/v2/dags/{SCORE}", is_paused=False).raise_for_status()
    run_id = _run_of(question)
    person.open(f"/dags/{RETRAIN}/runs/{quote(run_id)}/tasks/approve/required_actions")
    page = person.page
    expect(page.get_by_text("May the candidate replace champion v1?").first).to_be_visible()
    person.take_pictures("approve")
    _field(page.locator("body"), "reason").fill("looks right")
    page.get_by_role("button", name="Approve", exact=True).click()
    _rest(person)
    return _ended(person.airflow, RETRAIN, run_id)


@pytest.fixture(scope="module")
def scored(airflow: Airflow, person: Person, second: Run) -> Run:
    """The run that the asset's event started, since the champion is another one, when it has ended."""
    _rest(person)
    run_id, *_ = until(lambda: _runs(airflow, SCORE), seconds=120, what="the run of the asset's event")
    return _ended(airflow, SCORE, run_id)


@pytest.fixture(scope="module")
def back(airflow: Airflow, person: Person, scored: Run) -> Run:
    """The rollback, when it has ended."""
    _rest(person)
    airflow.call("PATCH", f"/api/v2/dags/{SCORE}", is_paused=True).raise_for_status()
    airflow.call("PATCH", f"/api/v2/dags/{ROLLBACK}", is_paused=False).raise_for_status()
    return _ended(airflow, ROLLBACK, _trigger(airflow, ROLLBACK, reason="users complained"))


def test_the_list_shows_the_dag_paused_and_its_switch_starts_the_schedule(person: Person) -> None:
    person.open("/dags")
    switch = _row(person, RETRAIN).get_by_role("checkbox")
    expect(switch).not_to_be_checked()
    person.take_pictures("dags")
    switch.locator("xpath=..").click()
    expect(switch).to_be_checked()
    until(lambda: not person.airflow.get(f"/api/v2/dags/{RETRAIN}")["is_paused"], seconds=30, what="the schedule")


def test_the_form_has_sections_with_what_is_usual(person: Person, form: Locator) -> None:
    usual = {
        "Data": "or sample:ROWS for a generated one",
        "Split": "Share of the rows for training.",
        "Training": "Empty: 2, from the config local.",
        "Run": "Empty: never, from the config local.",
    }
    for section, words in usual.items():
        _open_section(form, section)
        expect(form.get_by_text(words).first).to_be_visible()
    expect(_field(form, "config")).to_have_value("local")
    expect(_field(form, "source")).to_have_value("")
    person.take_pictures("form")


def test_the_first_run_took_what_was_asked_and_promoted(
    first: Run, asked: dict[str, str], registry: LocalRegistry
) -> None:
    assert first["state"] == "success"
    assert asked.items() <= first["conf"].items()
    assert first["note"].startswith("**Promoted**: There is no champion yet")
    assert _history(registry) == [("v1", "promote", True)]


def test_the_runs_own_tab_tells_the_verdict(person: Person, first: Run) -> None:
    _open_report(person, RETRAIN, first["dag_run_id"])
    _expect_heading(person, "Promoted")
    expect(person.frame().get_by_role("heading", name="Side by side")).to_be_visible()
    person.take_pictures("run")


def test_the_grid_tells_how_the_run_ended(person: Person, first: Run) -> None:
    tasks = person.airflow.get(f"/api/v2/dags/{RETRAIN}/dagRuns/{first['dag_run_id']}/taskInstances")["task_instances"]
    states = {task["task_id"]: task["state"] for task in tasks}
    assert [task for task in ("promoted", "kept", "failed") if states[task] == "success"] == ["promoted"]
    person.open(f"/dags/{RETRAIN}")
    expect(person.page.get_by_text("promoted", exact=True).first).to_be_visible()


def test_the_question_has_the_facts_and_a_way_to_the_report(airflow: Airflow, question: Mapping[str, Any]) -> None:
    assert question["subject"] == "May the candidate replace champion v1?"
    assert "the setting approval = always" in question["body"].replace("\\", "")
    assert "| precision |" in question["body"]
    assert f"[The run's report]({_report(airflow, RETRAIN, _run_of(question))})" in question["body"]


def test_while_a_person_is_asked_the_report_says_what_waits(person: Person, question: Mapping[str, Any]) -> None:
    _open_report(person, RETRAIN, _run_of(question))
    _expect_heading(person, "A person is asked")
    answers = f"/dags/{RETRAIN}/runs/{quote(_run_of(question), safe='')}/tasks/approve/required_actions"
    expect(person.frame().get_by_role("link", name="The question, and its answers")).to_have_attribute("href", answers)
    person.take_pictures("report-waiting")


def test_the_approval_moves_the_alias_and_stands_in_the_history(second: Run, registry: LocalRegistry) -> None:
    assert second["state"] == "success"
    assert second["note"].startswith("**Promoted**: ")
    assert "Approved by admin (looks right)" in second["note"]
    assert _history(registry) == [("v1", "promote", True), ("v2", "promote", True)]
    assert _champion(registry) == "v2"
    before, entry = registry.history()
    assert isinstance(before.approval, ApprovalUnneeded)
    assert isinstance(entry.approval, Answer)
    assert (entry.approval.by, entry.approval.reason) == ("admin", "looks right")


def test_the_champions_asset_has_an_event_for_each_promotion(airflow: Airflow, first: Run, second: Run) -> None:
    assert _events(airflow)[:2] == [
        ("v1", "promoted", _report(airflow, RETRAIN, first["dag_run_id"])),
        ("v2", "promoted", _report(airflow, RETRAIN, second["dag_run_id"])),
    ]


def test_the_pages_show_the_new_champion_and_who_approved(person: Person, second: Run) -> None:
    _open_report(person, RETRAIN, second["dag_run_id"])
    _expect_heading(person, "Promoted")
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
    assert (scored["run_type"], scored["state"]) == ("asset_triggered", "success")
    questions, answers = _rows(place / "week.csv"), _rows(place / "scored.csv")
    assert [row["qid"] for row in answers] == [row["qid"] for row in questions]
    assert {row["label"] for row in answers} <= {"0", "1"}
    assert all(0 <= float(row["probability"]) <= 1 for row in answers)


def test_the_scoring_has_a_report_and_a_note_of_its_own(person: Person, scored: Run) -> None:
    assert scored["note"].startswith(("**Scored**: ", "**Drift**: "))
    assert "v2 flags" in scored["note"]
    _open_report(person, SCORE, scored["dag_run_id"])
    expect(person.frame().get_by_text("of 300 questions of file:week.csv").first).to_be_visible()
    person.take_pictures("scoring")


def test_the_way_back_is_seen_everywhere(airflow: Airflow, person: Person, back: Run, registry: LocalRegistry) -> None:
    assert back["state"] == "success"
    assert back["note"].startswith("**Rolled back**: users complained")
    assert _champion(registry) == "v1"
    assert _history(registry)[-1] == ("v1", "rollback", True)
    assert _events(airflow)[2:] == [("v1", "rolled back", _report(airflow, ROLLBACK, back["dag_run_id"]))]
    _open_report(person, ROLLBACK, back["dag_run_id"])
    _expect_heading(person, "Rolled back")
    person.take_pictures("rollback")
    person.open(f"/dags/{RETRAIN}/plugin/promotions")
    expect(person.frame().locator(".big")).to_have_text("v1")
    expect(person.frame().get_by_text("users complained").first).to_be_visible()
    person.open("/plugin/models")
    expect(person.frame().locator(".big")).to_have_text("v1")


@pytest.mark.usefixtures("scored")
def test_people_were_told_once_of_each_end_and_where_to_look(
    airflow: Airflow, team: Webhook, first: Run, second: Run, back: Run
) -> None:
    told = [
        (title, each["message"].split("\n")[-1])
        for title, each in zip(team.titles, team.posted, strict=True)
        if not title.startswith("Drift: ")  # whether a tiny model drifts is no matter here
    ]
    assert told == [
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


def test_a_wrong_number_is_put_right_by_the_form_and_refused_elsewhere_with_its_bound(
    person: Person, back: Run
) -> None:
    words = "Invalid input for param epochs: 101 is greater than the maximum of 100"
    asked = person.airflow.call("POST", f"/api/v2/dags/{RETRAIN}/dagRuns", logical_date=None, conf={"epochs": 101})
    assert (asked.status_code, asked.json()["detail"].splitlines()[0]) == (400, words)
    with pytest.raises(ParamValidationError, match="101 is greater than the maximum of 100"):
        retraining_params()["epochs"].resolve(101)  # as `airflow dags test` does
    person.open(f"/dags/{RETRAIN}")
    person.page.get_by_role("button", name="Trigger").first.click()
    form = person.page.get_by_role("dialog")
    _open_section(form, "Training")
    expect(form.get_by_text("From 1 to 100.").first).to_be_visible()
    _field(form, "epochs").fill("101")
    _field(form, "epochs").press("Tab")
    expect(_field(form, "epochs")).to_have_value("100")


@pytest.fixture(scope="module")
def event(person: Person, place: Path, back: Run) -> Run:
    """The run of a second model that an event of its source has started, when it has ended: there is no file."""
    _rest(person)
    airflow, source = person.airflow, (place / "toxic.csv").as_uri()
    airflow.call("PATCH", f"/api/v2/dags/{OTHER}", is_paused=False).raise_for_status()
    (asset,) = [asset for asset in airflow.get("/api/v2/assets")["assets"] if asset["uri"] == source]
    airflow.call("POST", "/api/v2/assets/events", asset_id=asset["id"]).raise_for_status()
    (run_id,) = until(lambda: _runs(airflow, OTHER), seconds=120, what="the run of the source's event")
    return _ended(airflow, OTHER, run_id)


def test_an_event_of_its_source_starts_a_run_of_a_second_model(
    airflow: Airflow, event: Run, team: Webhook, registry: LocalRegistry
) -> None:
    assert (event["run_type"], event["state"], event["conf"]) == ("asset_triggered", "failed", {})
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
    _open_report(person, OTHER, event["dag_run_id"])
    _expect_heading(person, "Rejected")


def test_no_tab_stands_where_it_has_nothing_to_say(person: Person, scored: Run) -> None:
    person.open(f"/dags/{SCORE}")
    expect(person.page.get_by_role("link", name="Runs", exact=True)).to_be_visible()
    for name in ("Promotions", "Data quality"):
        expect(person.page.get_by_role("link", name=name, exact=True)).to_be_hidden()


def _field(form: Locator, name: str) -> Locator:
    return form.locator(f"[name=element_{name}]")


def _open_section(form: Locator, name: str) -> None:
    """Open a section of the form; the one that was open closes."""
    section = form.get_by_role("button", name=name, exact=True)
    if section.get_attribute("aria-expanded") != "true":
        section.click()
    expect(section).to_have_attribute("aria-expanded", "true")


def _row(person: Person, dag_id: str) -> Locator:
    """Return what the list has on one DAG: the smallest element with its link and its switch."""
    page = person.page
    whole = page.locator("div").filter(has=page.get_by_role("link", name=dag_id, exact=True))
    return whole.filter(has=page.get_by_role("checkbox")).last


def _rest(person: Person) -> None:
    """Leave Airflow's pages, which ask for news all the time."""
    person.page.goto("about:blank")


def _run_of(question: Mapping[str, Any]) -> str:
    return str(question["task_instance"]["dag_run_id"])


def _open_report(person: Person, dag_id: str, run_id: str) -> None:
    """Open a run's page, and its tab with the report."""
    person.open(f"/dags/{dag_id}/runs/{quote(run_id)}")
    person.page.get_by_role("link", name="Report", exact=True).click()


def _expect_heading(person: Person, words: str) -> None:
    expect(person.frame().get_by_role("heading", name=words, exact=True)).to_be_visible()


def _trigger(airflow: Airflow, dag_id: str, **conf: Any) -> str:
    answer = airflow.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", logical_date=None, conf=conf)
    answer.raise_for_status()
    return str(answer.json()["dag_run_id"])


def _runs(airflow: Airflow, dag_id: str) -> list[str]:
    """Return the ids of a DAG's runs, but for those that its schedule has started."""
    runs = airflow.get(f"/api/v2/dags/{dag_id}/dagRuns?order_by=run_after")["dag_runs"]
    return [run["dag_run_id"] for run in runs if run["run_type"] != "scheduled"]


def _ended(airflow: Airflow, dag_id: str, run_id: str) -> Run:
    def over() -> Run | None:
        run: Run = airflow.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
        return run if run["state"] in ("success", "failed") else None

    return dict(until(over, seconds=SLOW, what=f"the end of {dag_id} {run_id}"))


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
