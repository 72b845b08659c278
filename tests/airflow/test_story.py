"""A person at home uses the UI that `make up` starts: from the list of DAGs to the verdict, in a real browser."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from ml.source.sample import write_sample
from tests.browser import Person, browsing, needs_chromium
from tests.live import Airflow, running_airflow, until
from tests.tiny import write_tiny_config

pytestmark = needs_chromium
DAG = "/dags/retrain_quora"
RUNS = f"/api/v2{DAG}/dagRuns"


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    with running_airflow(tmp_path_factory.mktemp("live")) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def person(airflow: Airflow) -> Iterator[Person]:
    with browsing(airflow) as person:
        yield person


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the person types into the form: one thing in each of the sections Data and Run."""
    folder = tmp_path_factory.mktemp("input")
    write_sample(folder / "questions.csv", rows=1500, seed=1)
    return {"source": str(folder / "questions.csv"), "config": str(write_tiny_config(folder))}


@pytest.fixture(scope="module")
def form(person: Person) -> Locator:
    person.open(DAG)
    person.page.get_by_role("button", name="Trigger").first.click()
    return person.page.get_by_role("dialog")


@pytest.fixture(scope="module")
def run(person: Person, form: Locator, asked: dict[str, str]) -> dict[str, Any]:
    """Fill in the form, trigger the run, and wait until it has ended."""
    for section, name in (("Data", "source"), ("Run", "config")):
        _open_section(form, section)
        form.locator(f"[name=element_{name}]").fill(asked[name])
    form.get_by_role("button", name="Trigger").click()
    expect(form).to_be_hidden()
    person.page.goto("about:blank")  # Airflow's pages ask for news all the time

    def over() -> dict[str, Any] | None:
        runs = person.airflow.get(RUNS)["dag_runs"]
        return next((run for run in runs if run["state"] in ("success", "failed")), None)

    return until(over, seconds=400, what="the end of the run")


def test_the_list_shows_the_dag_paused_and_its_switch_starts_the_schedule(person: Person) -> None:
    person.open("/dags")
    switch = _row(person, "retrain_quora").get_by_role("checkbox")
    expect(switch).not_to_be_checked()
    person.take_pictures("dags")
    switch.locator("xpath=..").click()
    expect(switch).to_be_checked()
    until(lambda: not person.airflow.get(f"/api/v2{DAG}")["is_paused"], seconds=30, what="the schedule")


def test_the_form_says_what_can_be_set(person: Person, form: Locator) -> None:
    expect(form.locator("[name=element_config]")).to_have_value("local")
    expect(form.locator("[name=element_source]")).to_have_value("")
    expect(form).to_contain_text("Share of the rows for training.")
    _open_section(form, "Training")
    person.take_pictures("trigger-form")


def test_the_run_took_what_was_asked(run: dict[str, Any], asked: dict[str, str]) -> None:
    assert run["state"] == "success"
    assert asked.items() <= run["conf"].items()


def test_the_runs_own_tab_tells_the_verdict(person: Person, run: dict[str, Any]) -> None:
    person.open(f"{DAG}/runs/{run['dag_run_id']}")
    person.page.get_by_role("link", name=re.compile("^Reports?$")).click()
    expect(person.frame().get_by_text(re.compile("promote", re.IGNORECASE)).first).to_be_visible()
    person.take_pictures("report")


def _open_section(form: Locator, name: str) -> None:
    """Open a section of the form, which closes the one that was open."""
    form.locator("button[aria-expanded]", has_text=name).first.click()


def _row(person: Person, dag_id: str) -> Locator:
    """Return what the list has on one DAG: the smallest element with its link and its switch."""
    page = person.page
    whole = page.locator("div").filter(has=page.get_by_role("link", name=dag_id, exact=True))
    return whole.filter(has=page.get_by_role("checkbox")).last
