"""The services of docker-compose.yaml, with PostgreSQL, Redis and Celery, run the DAG to a verdict."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import expect

from ml.source.sample import write_sample
from tests.browser import browsing, needs_chromium
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


@pytest.fixture(scope="module")
def run(production: Production, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Trigger a run as a person does, and return it when it has ended."""
    folder = tmp_path_factory.mktemp("input")
    write_sample(folder / "questions.csv", rows=1500, seed=1)
    asked = {"source": str(folder / "questions.csv"), "config": str(write_tiny_config(folder))}
    until(lambda: production.call("GET", DAG).ok, seconds=60, what="the DAG", logs=production.logs)
    production.call("PATCH", DAG, is_paused=False).raise_for_status()
    response = production.call("POST", f"{DAG}/dagRuns", logical_date=None, conf=asked)
    response.raise_for_status()
    address = f"{DAG}/dagRuns/{response.json()['dag_run_id']}"

    def over() -> dict[str, Any] | None:
        run = production.get(address)
        return run if run["state"] in ("success", "failed") else None

    return until(over, seconds=400, what="the run", logs=production.logs)


def test_all_parts_are_healthy(production: Production) -> None:
    def healthy() -> bool:
        health = production.get("/api/v2/monitor/health")
        return {part["status"] for part in health.values()} == {"healthy"} and len(health) == 4

    assert until(healthy, seconds=60, what="every part", logs=production.logs)


def test_a_run_ends_with_a_champion(production: Production, run: dict[str, Any]) -> None:
    assert run["state"] == "success"
    assert (production.state / "registry" / "versions" / "v1").is_dir()


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
    address = f"/retraining/reports/{run['dag_run_id']}/"
    assert "PROMOTE: " in production.call("GET", address).text
    assert requests.get(production.url + address, timeout=30).status_code == 401


def test_no_part_logs_a_secret(production: Production, run: dict[str, Any]) -> None:
    told = "".join(path.read_text(errors="replace") for path in production.logs.rglob("*.log"))
    assert [name for name, secret in SECRETS.items() if secret in told] == []


@needs_chromium
def test_a_person_logs_in_and_reads_the_verdict(production: Production, run: dict[str, Any]) -> None:
    with browsing(production) as person:
        person.open(f"/dags/retrain_quora/runs/{run['dag_run_id']}")
        person.page.get_by_role("link", name=re.compile("^Reports?$")).click()
        expect(person.frame().get_by_text(re.compile("promote", re.IGNORECASE)).first).to_be_visible()
