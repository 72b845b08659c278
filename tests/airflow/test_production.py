"""The services of docker-compose.yaml, with PostgreSQL, Redis and Celery, run the DAG to a verdict."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import expect
from retraining.params import folder_name

from ml.source.sample import write_sample
from tests.airflow.notices.servers import PASSWORD, Webhook, connection, webhook
from tests.browser import browsing, needs_chromium
from tests.live import wait_for_question
from tests.production import SECRETS, Production, installed, running_production, until
from tests.tiny import BETTER, write_learning_config

pytestmark = pytest.mark.skipif(
    not (installed("initdb") and installed("redis-server")), reason="PostgreSQL and Redis are not installed"
)
DAG = "/api/v2/dags/retrain_quora"


@pytest.fixture(scope="module")
def team() -> Iterator[Webhook]:
    """A webhook that the connection `team` leads to."""
    with webhook() as team:
        yield team


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory, python: str) -> Iterator[Production]:
    with running_production(tmp_path_factory.mktemp("production"), python) as production:
        yield production


def ended(production: Production, run_id: str, *, dag_id: str = "retrain_quora") -> dict[str, Any]:
    """Return a run when it has ended."""

    def over() -> dict[str, Any] | None:
        run: dict[str, Any] = production.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
        return run if run["state"] in ("success", "failed") else None

    run: dict[str, Any] = until(over, seconds=600, what="the run", logs=production.logs)
    return run


def triggered(production: Production, dag_id: str, **conf: Any) -> str:
    """Trigger a run, and return its id."""
    response = production.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", logical_date=None, conf=conf)
    response.raise_for_status()
    return str(response.json()["dag_run_id"])


def report_of(run: dict[str, Any]) -> str:
    """The address of the run's reports."""
    return f"/retraining/dags/retrain_quora/runs/{run['dag_run_id']}/"


def scheduled(production: Production) -> dict[str, Any]:
    """Return the first run that the scheduler itself has started, when it has ended."""

    def found() -> str | None:
        runs = production.get(f"{DAG}/dagRuns")["dag_runs"]
        return min((str(run["dag_run_id"]) for run in runs if run["run_type"] == "scheduled"), default=None)

    return ended(production, until(found, seconds=600, what="a scheduled run", logs=production.logs))


@pytest.fixture(scope="module")
def without_source(production: Production) -> dict[str, Any]:
    """The run of a schedule that nobody has told its source."""
    until(lambda: production.call("GET", DAG).ok, seconds=600, what="the DAG", logs=production.logs)
    production.call("PATCH", DAG, is_paused=False).raise_for_status()
    first = scheduled(production)
    _pause(production)
    return first


def _pause(production: Production) -> None:
    """Let no later run of the schedule become the first with a source."""

    def at_rest() -> bool:
        return "running" not in {run["state"] for run in production.get(f"{DAG}/dagRuns")["dag_runs"]}

    production.call("PATCH", DAG, is_paused=True).raise_for_status()
    until(at_rest, seconds=600, what="the end of all runs", logs=production.logs)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config, questions to score, and the same CSV for each of three days: midnight may be near."""
    folder = tmp_path_factory.mktemp("input")
    for days in (-1, 0, 1):
        day = datetime.now(UTC) + timedelta(days=days)
        (folder / f"{day:%Y-%m-%d}").mkdir()
        write_sample(folder / f"{day:%Y-%m-%d}" / "questions.csv", rows=1500, seed=1)
    write_learning_config(folder, next(folder.glob("*/questions.csv")))
    write_sample(folder / "week.csv", rows=300, seed=2)
    return folder


@pytest.fixture(scope="module")
def run(production: Production, without_source: dict[str, Any], place: Path, team: Webhook) -> dict[str, Any]:
    """The scheduled run, cleared when Variables say what the schedule runs on, and who is told of what."""
    channel = json.loads(connection(team.address))
    body = {"connection_id": "team", "conn_type": channel["conn_type"], "extra": json.dumps(channel["extra"])}
    production.call("POST", "/api/v2/connections", **body).raise_for_status()
    told = {
        "sincere_config": str(place / "tiny.toml"),
        "sincere_source": f"{place}/{{{{ ds }}}}/questions.csv",
        "sincere_questions": str(place / "week.csv"),
        "sincere_score_output": str(place / "scored.csv"),
        "sincere_notify": "promoted,approval_wanted,rolled_back=team",
    }
    for key, value in told.items():
        production.call("POST", "/api/v2/variables", key=key, value=value).raise_for_status()
    again = {"dry_run": False, "only_failed": False, "dag_run_id": without_source["dag_run_id"]}
    production.call("POST", f"{DAG}/clearTaskInstances", **again).raise_for_status()
    production.call("PATCH", DAG, is_paused=False).raise_for_status()
    return ended(production, without_source["dag_run_id"])


def test_all_parts_are_healthy(production: Production) -> None:
    def healthy() -> bool:
        health = production.get("/api/v2/monitor/health")
        return {part["status"] for part in health.values()} == {"healthy"} and len(health) == 4

    assert until(healthy, seconds=60, what="every part", logs=production.logs)


def test_a_scheduled_run_without_a_source_fails_at_once_and_says_what_to_set(
    production: Production, without_source: dict[str, Any]
) -> None:
    assert (without_source["run_type"], without_source["state"]) == ("scheduled", "failed")
    tasks = production.get(f"{DAG}/dagRuns/{without_source['dag_run_id']}/taskInstances")["task_instances"]
    assert {task["task_id"] for task in tasks if task["state"] == "failed"} == {"snapshot", "failed"}
    assert [task["try_number"] for task in tasks if task["task_id"] == "snapshot"] == [1]
    verdict = production.call("GET", report_of(without_source)).text
    assert "set SINCERE_SOURCE" in verdict


def test_a_scheduled_run_reads_the_file_of_its_date_and_ends_with_a_champion(
    production: Production, run: dict[str, Any]
) -> None:
    assert (run["run_type"], run["state"], run["conf"]) == ("scheduled", "success", {})
    assert (production.state / "registry" / "versions" / "v1").is_dir()
    (entry, *_) = (production.state / "registry" / "history.jsonl").read_text().splitlines()
    promotion = json.loads(entry)
    assert (promotion["verdict"], promotion["triggered_by"]) == ("promote", "Airflow, scheduled run")
    assert promotion["source"]["name"] == "file:questions.csv"


def test_a_person_triggers_a_run_and_the_same_file_again_is_no_work(
    production: Production, run: dict[str, Any], place: Path
) -> None:
    again = ended(production, triggered(production, "retrain_quora", source=str(next(place.glob("*/questions.csv")))))
    assert (again["run_type"], again["state"]) == ("manual", "success")
    verdict = production.call("GET", report_of(again)).text
    assert "<h1>Unchanged</h1>" in verdict


def test_the_runs_note_and_the_champions_asset_say_what_came_of_it(production: Production, run: dict[str, Any]) -> None:
    assert production.get(f"{DAG}/dagRuns/{run['dag_run_id']}")["note"].startswith("**Promoted**: There is no champion")
    (event,) = production.get("/api/v2/assets/events")["asset_events"]
    assert (event["extra"]["version"], event["extra"]["verdict"]) == ("v1", "promoted")
    assert event["extra"]["report"].endswith("/plugin/report")


def test_training_and_evaluation_went_to_the_queue_of_the_gpu(production: Production, run: dict[str, Any]) -> None:
    tasks = production.get(f"{DAG}/dagRuns/{run['dag_run_id']}/taskInstances")["task_instances"]
    assert {task["task_id"]: task["queue"] for task in tasks if task["queue"] != "default"} == {
        "train": "gpu",
        "evaluate": "gpu",
    }


def test_the_log_of_a_worker_is_shown(production: Production, run: dict[str, Any]) -> None:
    log = production.get(f"{DAG}/dagRuns/{run['dag_run_id']}/taskInstances/train/logs/1")
    assert "exporting the model" in str(log)


def test_who_may_read_the_dag_sees_the_verdict(production: Production, run: dict[str, Any]) -> None:
    assert "<h1>Promoted</h1>" in production.call("GET", report_of(run)).text
    assert requests.get(production.url + report_of(run), timeout=30).status_code == 401


@pytest.fixture(scope="module")
def second(production: Production, run: dict[str, Any], place: Path) -> dict[str, Any]:
    """The run that a person was asked about, and has approved, when it has ended; the scoring waits for its event."""
    production.call("PATCH", "/api/v2/dags/score_questions", is_paused=False).raise_for_status()
    asked = {"source": str(next(place.glob("*/questions.csv"))), **BETTER, "approval": "always"}
    run_id = triggered(production, "retrain_quora", **asked)
    question = wait_for_question(production, "retrain_quora", run_id, seconds=600)
    assert question["subject"] == "May the candidate replace champion v1?"
    answer = {"chosen_options": ["Approve"], "params_input": {"reason": "looks right"}}
    details = f"{DAG}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    production.call("PATCH", details, **answer).raise_for_status()
    return ended(production, run_id)


@pytest.fixture(scope="module")
def scored(production: Production, second: dict[str, Any]) -> dict[str, Any]:
    """The run that the event of the new champion has started, when it has ended."""

    def started() -> list[dict[str, Any]]:
        return list(production.get("/api/v2/dags/score_questions/dagRuns")["dag_runs"])

    (run,) = until(started, seconds=120, what="the run of the asset's event", logs=production.logs)
    return ended(production, run["dag_run_id"], dag_id="score_questions")


@pytest.fixture(scope="module")
def back(production: Production, scored: dict[str, Any]) -> dict[str, Any]:
    """The rollback, when it has ended."""
    production.call("PATCH", "/api/v2/dags/score_questions", is_paused=True).raise_for_status()
    production.call("PATCH", "/api/v2/dags/rollback_model", is_paused=False).raise_for_status()
    run_id = triggered(production, "rollback_model", reason="users complained")
    return ended(production, run_id, dag_id="rollback_model")


def test_an_approval_moves_the_alias_and_stands_in_the_history(production: Production, second: dict[str, Any]) -> None:
    assert "looks right" in second["note"]
    given = [json.loads(line) for line in (production.state / "registry" / "history.jsonl").read_text().splitlines()]
    (entry,) = [entry for entry in given if entry["run_id"] == folder_name(second["dag_run_id"])]
    assert (entry["version"], entry["promoted"]) == ("v2", True)
    approval = entry["approval"]
    assert (approval["approved"], approval["by"], approval["reason"]) == (True, "admin", "looks right")


def test_a_new_champion_scores_the_questions(production: Production, scored: dict[str, Any], place: Path) -> None:
    assert (scored["run_type"], scored["state"]) == ("asset_triggered", "success")
    assert "v2 flags" in scored["note"]
    header, *rows = (place / "scored.csv").read_text(encoding="utf-8").splitlines()
    assert (header, len(rows)) == ("qid,question_text,target,probability,label", 300)


def test_the_way_back_is_seen_in_note_alias_and_event(production: Production, back: dict[str, Any]) -> None:
    assert back["note"].startswith("**Rolled back**: users complained")
    aliases = json.loads((production.state / "registry" / "aliases.json").read_text(encoding="utf-8"))
    assert aliases["versions"]["production"] == "v1"
    events = production.get("/api/v2/assets/events?order_by=timestamp")["asset_events"]
    assert [(event["extra"]["version"], event["extra"]["verdict"]) for event in events] == [
        ("v1", "promoted"),
        ("v2", "promoted"),
        ("v1", "rolled back"),
    ]


@pytest.mark.usefixtures("back")
def test_people_were_told_once_of_each_and_where_to_look(production: Production, team: Webhook) -> None:
    # A task that has ended tells so after Airflow knows of its end.
    until(lambda: len(team.titles) >= 4, seconds=60, what="the last notice", logs=production.logs)
    assert team.titles == [
        "Promoted: v1 is the champion now (before: none)",
        "Approval wanted: may the candidate become the champion (now: v1)?",
        "Promoted: v2 is the champion now (before: v1)",
        "Rolled back: v1 is the champion again (before: v2)",
    ]
    assert all(f"Where: {production.url}/dags/" in each["message"] for each in team.posted)


@needs_chromium
def test_a_person_logs_in_and_sees_what_came_of_it(
    production: Production, run: dict[str, Any], back: dict[str, Any]
) -> None:
    with browsing(production) as person:
        person.open(f"/dags/retrain_quora/runs/{run['dag_run_id']}")
        person.page.get_by_role("link", name=re.compile("^Reports?$")).click()
        expect(person.frame().get_by_text(re.compile("promote", re.IGNORECASE)).first).to_be_visible()
        person.open("/dags/retrain_quora/plugin/promotions")
        expect(person.frame().locator(".big")).to_have_text("v1")
        expect(person.frame().get_by_text("users complained").first).to_be_visible()


def test_no_part_logs_a_secret(production: Production, back: dict[str, Any], team: Webhook) -> None:
    told = "".join(path.read_text(errors="replace") for path in production.logs.rglob("*.log"))
    secrets = {**SECRETS, "the webhook's password": PASSWORD}
    assert [name for name, secret in secrets.items() if secret in told] == []
