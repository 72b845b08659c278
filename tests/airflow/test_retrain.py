"""`make retrain` as a person runs it: the real DAG, real steps, a generated CSV and a tiny encoder."""

import os
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.data.sample import write_sample
from tests.tiny import write_tiny_config

PROJECT = Path(__file__).parents[2]

Retrain = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CSV whose name needs quoting, a config, and room for the state."""
    folder = tmp_path_factory.mktemp("retrain")
    write_sample(folder / "Jane's new questions.csv", rows=1500, seed=1)
    write_tiny_config(folder)
    return folder


@pytest.fixture(scope="module")
def retrain(place: Path) -> Retrain:
    def run(source: Path = place / "Jane's new questions.csv") -> "subprocess.CompletedProcess[str]":
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "MAKE"))}
        environment |= {"SINCERE_HOME": str(place / "my state")}
        command = ["make", "--assume-old=.venv/installed-all", "retrain", f"SOURCE={source}"]
        return subprocess.run(
            [*command, f"CONFIG={place / 'tiny.toml'}"],
            cwd=PROJECT,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture(scope="module")
def first(retrain: Retrain) -> "subprocess.CompletedProcess[str]":
    return retrain()


@pytest.fixture(scope="module")
def second(first: object, retrain: Retrain) -> "subprocess.CompletedProcess[str]":
    return retrain()


def test_a_first_run_promotes_and_prints_the_verdict(first: "subprocess.CompletedProcess[str]") -> None:
    assert first.returncode == 0, first.stdout + first.stderr
    assert "PROMOTE: " in first.stdout


def test_the_same_again_is_no_work_and_a_success(second: "subprocess.CompletedProcess[str]") -> None:
    assert second.returncode == 0, second.stdout + second.stderr
    assert "UNCHANGED: " in second.stdout


@pytest.mark.usefixtures("second")
def test_only_the_promotion_told_those_who_wait_for_a_champion(place: Path) -> None:
    query = "select asset.name from asset_event join asset on asset.id = asset_event.asset_id"
    with sqlite3.connect(place / "my state" / "airflow" / "airflow.db") as database:
        assert database.execute(query).fetchall() == [("quora_champion",)]


def test_a_stopped_run_fails_with_the_steps_own_error(retrain: Retrain, place: Path) -> None:
    done = retrain(place / "missing.csv")
    assert done.returncode != 0
    assert "what to do: " in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
