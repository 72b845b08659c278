"""A registry in W&B answers a page too, and one that does not is a message with what is known here."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from retraining.pages import process
from retraining.pages.champion import answer
from retraining.pages.champion.answer import Away, Told, ask_registry
from retraining.pages.champion.place import Place

from ml.registry import CHAMPION_ALIAS
from ml.registry.open import open_registry
from ml.store import Store
from tests.airflow.pages.examples import decide_next
from tests.airflow.pages.places import DAG, Client, seen
from tests.contracts.test_registry import DECISION, ENTRY

URL = "wandb://acme/quora/insincere"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine not decide what a page shows."""
    monkeypatch.setattr(answer, "_PATIENCE_SECONDS", 120)
    monkeypatch.setattr(process, "_LONGEST_SECONDS", 120)


@pytest.fixture
def place(home: Path) -> Place:
    return Place(home, URL)


@pytest.fixture
def recorded(wandb_server, home: Path):
    """A server with a champion and one entry, at which this process's environment points."""
    wandb_server.state.put("insincere", {"weights": b"first"}, schema=1, model="1" * 64, aliases=[CHAMPION_ALIAS])
    entry = replace(ENTRY, version="v0", promoted=True, verdict="promote")
    open_registry(URL, Store(home / "store")).record(entry, DECISION)
    return wandb_server


def test_a_registry_in_wandb_tells_its_history(recorded, place: Place) -> None:
    told = ask_registry(place)
    assert isinstance(told, Told)
    assert [(entry.version, entry.run_id) for entry in told.history] == [("v0", ENTRY.run_id)]


@pytest.mark.usefixtures("quick_questions")
def test_the_key_may_be_a_connection_of_airflow(recorded, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    connection = json.dumps({"conn_type": "generic", "password": recorded.key})
    monkeypatch.setenv("AIRFLOW_CONN_WANDB_DEFAULT", connection)
    assert isinstance(ask_registry(place), Told)


@pytest.mark.usefixtures("quick_questions")
def test_it_is_asked_once_a_minute(recorded, place: Place) -> None:
    assert isinstance(ask_registry(place), Told)
    asked = len(recorded.requests)
    ask_registry(place)
    assert len(recorded.requests) == asked


@pytest.mark.usefixtures("quick_questions")
def test_an_outage_is_a_message_above_what_runs_have_kept(
    wandb_server, home: Path, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide_next(home, "run-1", (0.64, 0.55), time="2026-10-04T03:10:00+00:00")
    monkeypatch.setenv("SINCERE_REGISTRY", f"{URL}?timeout_seconds=1")
    wandb_server.fail(status=503)
    page = reader().get(f"/retraining/dags/{DAG}/promotions").text
    assert "The registry does not answer" in page
    assert "W&amp;B gave no definite answer" in page
    assert page.partition('id="decisions"')[2].count(">Why</a>") == 1


@pytest.mark.usefixtures("quick_questions")
def test_an_outage_is_a_message_on_each_models_own_card(
    wandb_server, home: Path, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide_next(home, "run-1", (0.64, 0.55), time="2026-10-04T03:10:00+00:00")
    monkeypatch.setenv("SINCERE_REGISTRY", f"{URL}?timeout_seconds=1")
    wandb_server.fail(status=503)
    page = seen(reader().get("/retraining/models").text)
    assert "The registry does not answer: W&B gave no definite answer" in page
    assert "Below is what is known on this machine. v1 champion since 04 Oct 2026, 03:10" in page


def test_a_server_that_is_silent_is_not_waited_for(wandb_server, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "_PATIENCE_SECONDS", 1)
    monkeypatch.setattr(process, "_LONGEST_SECONDS", 3)
    wandb_server.fail(delay_seconds=20)
    start = time.monotonic()
    away = ask_registry(place)
    assert time.monotonic() - start < 15
    assert isinstance(away, Away)
    assert away.what == "no answer came within 1 seconds"


@pytest.mark.usefixtures("quick_questions")
def test_an_expired_key_is_named_with_what_to_do(wandb_server, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "local-" + "f" * 40)
    away = ask_registry(place)
    assert isinstance(away, Away)
    assert ("does not accept the key" in away.what, "make a new key" in away.fix) == (True, True)
