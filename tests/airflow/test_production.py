"""The services of docker-compose.yaml, with PostgreSQL, Redis and Celery, run the DAG to a verdict."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import expect
from retraining.params import folder_name

from ml.source.sample import write_sample
from tests.browser import browsing, needs_chromium
from tests.live import wait_for_question
from tests.production import SECRETS, Production, installed, running_production, until
from tests.tiny import write_tiny_config

pytestmark = pytest.mark.skipif(
    not (installed("initdb") and installed("redis-server")), reason="PostgreSQL and Redis are not installed"
)
DAG = "/api/v2/dags/retrain_quora"


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    with running_production(tmp_path_factory.mktemp("production")) as production:
        yield production


def ended(production: Production, run_id: str) -> dict[str, Any]:
    """Return a run when it has ended."""

    def over() -> dict[str, Any] | None:
        run: dict[str, Any] = production.get(f"{DAG}/dagRuns/{run_id}")
        return run if run["state"] in ("success", "failed") else None

    run: dict[str, Any] = until(over, seconds=600, what="the run", logs=production.logs)
    return run


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
    return scheduled(production)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config that asks a person, and the same CSV for each of three days: midnight may be near."""
    folder = tmp_path_factory.mktemp("input")
    for days in (-1, 0, 1):
        day = datetime.now(UTC) + timedelta(days=days)
        (folder / f"{day:%Y-%m-%d}").mkdir()
        write_sample(folder / f"{day:%Y-%m-%d}" / "questions.csv", rows=1500, seed=1)
    config = write_tiny_config(folder)
    config.write_text(config.read_text().replace("[policy]", '[policy]\napproval = "always"'))
    return folder


@pytest.fixture(scope="module")
def question(production: Production, without_source: dict[str, Any], place: Path) -> Mapping[str, Any]:
    """What a person is asked by the scheduled run, which is cleared when Variables say what the schedule runs on."""
    told = {"sincere_config": str(place / "tiny.toml"), "sincere_source": f"{place}/{{{{ ds }}}}/questions.csv"}
    for key, value in told.items():
        production.call("POST", "/api/v2/variables", key=key, value=value).raise_for_status()
    again = {"dry_run": False, "only_failed": False, "dag_run_id": without_source["dag_run_id"]}
    production.call("POST", f"{DAG}/clearTaskInstances", **again).raise_for_status()
    return wait_for_question(production, "retrain_quora", without_source["dag_run_id"], seconds=600)


@pytest.fixture(scope="module")
def run(production: Production, question: Mapping[str, Any]) -> dict[str, Any]:
    """The scheduled run, which a person has approved, when it has ended."""
    run_id = question["task_instance"]["dag_run_id"]
    answer = {"chosen_options": ["Approve"], "params_input": {"reason": "looks right"}}
    details = f"{DAG}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    production.call("PATCH", details, **answer).raise_for_status()
    return ended(production, run_id)


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
    asked = {"source": str(next(place.glob("*/questions.csv")))}
    response = production.call("POST", f"{DAG}/dagRuns", logical_date=None, conf=asked)
    response.raise_for_status()
    again = ended(production, response.json()["dag_run_id"])
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


def test_no_part_logs_a_secret(production: Production, run: dict[str, Any]) -> None:
    told = "".join(path.read_text(errors="replace") for path in production.logs.rglob("*.log"))
    assert [name for name, secret in SECRETS.items() if secret in told] == []


@needs_chromium
def test_a_person_logs_in_and_reads_the_verdict(production: Production, run: dict[str, Any]) -> None:
    with browsing(production) as person:
        person.open(f"/dags/retrain_quora/runs/{run['dag_run_id']}")
        person.page.get_by_role("link", name=re.compile("^Reports?$")).click()
        expect(person.frame().get_by_text(re.compile("promote", re.IGNORECASE)).first).to_be_visible()


def test_a_person_is_asked_and_approves_and_the_alias_moves(
    production: Production, question: Mapping[str, Any], run: dict[str, Any]
) -> None:
    assert question["subject"] == "May the candidate become the first champion?"
    assert "looks right" in run["note"]
    aliases = json.loads((production.state / "registry" / "aliases.json").read_text(encoding="utf-8"))
    assert aliases["versions"]["production"] == "v1"
    given = [json.loads(line) for line in (production.state / "registry" / "history.jsonl").read_text().splitlines()]
    (approval,) = [entry["approval"] for entry in given if entry["run_id"] == folder_name(run["dag_run_id"])]
    assert (approval["approved"], approval["by"], approval["reason"]) == (True, "admin", "looks right")
