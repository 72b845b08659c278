"""The DAG with W&B as its registry: a first champion, a better model, a worse model, and an outage during a run."""

import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ml.source.sample import write_sample
from tests.forked_airflow import quick_make
from tests.processes import watched_command_lines
from tests.tiny import write_learning_config
from tests.wandb_server import WandbServer, serving

PROJECT = Path(__file__).parents[2]
REGISTRY = "wandb://acme/quora/insincere?timeout_seconds=5"

POLICY = "[policy]\nconfidence = 0.5\ncooldown_hours = 0"
DAG = """
# Airflow runs the project's DAG, whose tasks wait for a retry not minutes but seconds.
from datetime import timedelta

from retraining.dags import retraining_dag
from retraining.model import QUORA

retrain_quora = retraining_dag("retrain_quora", QUORA)
for task in retrain_quora.tasks:
    task.retry_delay = timedelta(seconds=5)
"""
# The Python of the DAG's steps: a promotion that is tried again begins when `go` is there.
PATIENT_PYTHON = """#!/bin/sh
place={place}
case "$*" in "-m ml promote"*)
    [ ! -e "$place/tried" ] || until [ -e "$place/go" ]; do sleep 0.1; done
    touch "$place/tried"
esac
exec {python} "$@"
"""
LITTLE = "epochs = {}"
MUCH = "epochs = {}\nbatch_size = 8\nlearning_rate = 3e-3"


@pytest.fixture(scope="module")
def server() -> Iterator[WandbServer]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a CSV and a tiny encoder that can learn its words; the state goes there too."""
    folder = tmp_path_factory.mktemp("wandb-dag")
    write_sample(folder / "rows.csv", rows=1500, seed=1)
    write_learning_config(folder, folder / "rows.csv")
    return folder


class Team:
    """A team that retrains with other settings each week."""

    def __init__(self, place: Path, server: WandbServer, python: str) -> None:
        self.place, self.python = place, python
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "MAKE", "WANDB"))}
        # Tracking is off; test_retrain.py tests it.
        settings = {"SINCERE_HOME": str(place / "home"), "SINCERE_REGISTRY": REGISTRY, "WANDB_MODE": "disabled"}
        settings["ML_PYTHON"] = str(place / "patient-python")
        text = PATIENT_PYTHON.format(place=shlex.quote(str(place)), python=shlex.quote(python))
        (place / "patient-python").write_text(text, encoding="utf-8")
        (place / "patient-python").chmod(0o755)
        for name in ("bin", "dags"):
            (place / name).mkdir()
        (place / "dags" / "retrain_quora.py").write_text(DAG, encoding="utf-8")
        self.make = quick_make(place / "bin", python=python)
        self.environment = kept | server.environment | settings

    def retrain(self, training: str) -> "subprocess.Popen[str]":
        """By the DAG."""
        settings = [f"CONFIG={self._config(training)}", f"SOURCE={self.place / 'rows.csv'}"]
        settings += [f"AIRFLOW__CORE__DAGS_FOLDER={self.place / 'dags'}"]
        return self._start(*self.make, "retrain", *settings)

    def retrain_without_airflow(self, training: str) -> "subprocess.Popen[str]":
        """The same steps, much quicker."""
        return self.ml("run", "--config", str(self._config(training)), "--source", str(self.place / "rows.csv"))

    def _config(self, training: str) -> Path:
        base = (self.place / "tiny.toml").read_text(encoding="utf-8").replace("[policy]", POLICY)
        config = self.place / "this-week.toml"
        config.write_text(base.replace("epochs = 1", training), encoding="utf-8")
        return config

    def ml(self, *command: str) -> "subprocess.Popen[str]":
        return self._start(self.python, "-m", "ml", *command)

    def decisions(self) -> int:
        return len(list(self.place.glob("home/store/decisions/*")))

    def pending(self) -> list[Path]:
        return list(self.place.glob("home/store/pending/*"))

    def _start(self, *command: str) -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=PROJECT, env=self.environment, stdout=pipe, stderr=pipe, text=True)


def finish(process: "subprocess.Popen[str]") -> str:
    """Wait for a process that must succeed, and return what it printed."""
    output, errors = process.communicate()
    assert process.returncode == 0, output + errors
    return output


def wait_until(happened: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    while not happened():
        assert process.poll() is None, f"it ended before that happened: {process.communicate()}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def command_lines() -> list[str]:
    """The command lines of all processes that ran during the weeks."""
    return []


@pytest.fixture(scope="module")
def weeks(place: Path, server: WandbServer, command_lines: list[str], python: str) -> SimpleNamespace:
    """Make four runs, with a rollback before the last one.

    In the last run W&B is down from the decision on, until the task waits for its retry, which comes after the
    promotion by hand. Only that run is made by the DAG: its retry is what Airflow adds to the steps.
    """
    with watched_command_lines(command_lines):
        return _live_through(Team(place, server, python), place, server)


def _live_through(team: Team, place: Path, server: WandbServer) -> SimpleNamespace:
    trainings = LITTLE.format(1), MUCH.format(3), LITTLE.format(2)
    texts = [finish(team.retrain_without_airflow(training)) for training in trainings]
    finish(team.ml("rollback", "--to", "v0", "--reason", "complaints"))
    decided = team.decisions()
    last = team.retrain(MUCH.format(2))
    wait_until(lambda: team.decisions() > decided, last)
    server.fail("*", status=503)
    wait_until(lambda: newest(place).startswith("PROMOTION PENDING"), last)
    during = newest(place)
    server.mend()
    by_hand = finish(team.ml("promote", "--pending"))
    (place / "go").touch()
    texts.append(finish(last))
    return SimpleNamespace(texts=texts, during=during, by_hand=by_hand, history=finish(team.ml("history")), team=team)


def newest(place: Path) -> str:
    """Read the verdict that was written last."""
    verdicts = sorted(place.glob("home/reports/*/verdict.txt"), key=lambda path: path.stat().st_mtime_ns)
    return verdicts[-1].read_text(encoding="utf-8")


def test_the_first_champion_the_better_and_the_worse_candidate_get_their_verdicts(weeks: SimpleNamespace) -> None:
    verdicts = [re.findall("^(PROMOTE|INCONCLUSIVE|KEEP|BLOCKED): ", text, re.MULTILINE) for text in weeks.texts[:3]]
    assert verdicts == [["PROMOTE"], ["PROMOTE"], ["KEEP"]]


def test_an_outage_after_the_decision_leaves_the_promotion_pending(weeks: SimpleNamespace) -> None:
    assert weeks.during.startswith("PROMOTION PENDING: ")
    assert "python -m ml promote --pending" in weeks.during


def test_what_was_pending_is_finished_by_hand_and_the_tasks_own_retry_changes_nothing(weeks: SimpleNamespace) -> None:
    assert weeks.by_hand.startswith("PROMOTE: ")
    assert "PROMOTE: " in weeks.texts[3]
    assert weeks.team.pending() == []


def test_the_alias_moved_with_each_promotion_and_the_rollback_and_never_else(
    weeks: SimpleNamespace, server: WandbServer
) -> None:
    moves = [(place.name, version) for place, alias, version in server.state.moves if alias == "production"]
    assert moves == [("insincere", version) for version in ("v0", "v1", "v0", "v3")]


def test_the_history_in_wandb_has_each_decision_once(weeks: SimpleNamespace) -> None:
    rows = [line.split() for line in weeks.history.splitlines() if line.startswith("20")]
    assert [(row[1], row[2]) for row in rows] == [
        ("promote", "v0"),
        ("promote", "v1"),
        ("keep", "v2"),
        ("rollback", "v0"),
        ("promote", "v3"),
    ]


def test_the_key_is_nowhere_to_be_read(
    weeks: SimpleNamespace, place: Path, server: WandbServer, command_lines: list[str]
) -> None:
    assert any("-m ml promote" in line for line in command_lines)
    assert not [line for line in command_lines if server.key in line]
    assert server.key not in "".join([*weeks.texts, weeks.during, weeks.by_hand, weeks.history])
    kept = [path for path in place.rglob("*") if path.is_file()]
    assert [path.name for path in kept if server.key.encode() in path.read_bytes()] == []
    assert server.key.encode() not in b"".join(server.state.blobs.values()) + str(server.state.runs).encode()
