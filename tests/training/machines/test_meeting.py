"""Machines meet in the store, and are processes of the command line here: how they end is what Airflow sees."""

import json
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ml.config import TrainConfig
from ml.errors import ConfigError, OutOfResources
from ml.records import Joined, from_json, to_json
from ml.training.machines.meeting import gather, own_address
from ml.training.machines.workers import Alone, Workers
from tests.live import free_port
from tests.tiny import ONE_LAYER, WORDS, write_tiny_encoder
from tests.training.splits import make_run, store_splits

PROJECT = Path(__file__).parents[3]
# TensorFlow asks every 30 seconds whether the others live, three times for 10 seconds.
QUICK = """
import sys
from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended
from ml.cli import main
CollectiveAllReduceExtended._check_health_interval = CollectiveAllReduceExtended._check_health_timeout = 1
sys.exit(main())
"""
TWO = TrainConfig(machines=2, wait_minutes=0.5)


@dataclass(frozen=True)
class Machines:
    """Starts machines of one run; each is a process with the same home."""

    python: str
    home: Path

    def start(self, step: str, *options: str, **settings: Any) -> "subprocess.Popen[str]":
        told = {"epochs": 3, "batch_size": 8, "precision": "float32", "machines": 2, "wait_minutes": 1, **settings}
        changed = [part for name, value in told.items() for part in ("--set", f"train.{name}={json.dumps(value)}")]
        encoder = [
            "--set",
            f"encoder.source={json.dumps(str(self.home / 'encoder'))}",
            "--set",
            "encoder.max_tokens=64",
        ]
        command = [self.python, "-c", QUICK, step, "--run-id", "week", "--input", str(self.home / "splits.json")]
        environment = {"SINCERE_HOME": str(self.home), "SINCERE_ADDRESS": "127.0.0.1", "PATH": "/usr/bin:/bin"}
        return subprocess.Popen(
            [*command, *encoder, *changed, *options], cwd=PROJECT, env=environment, stderr=subprocess.PIPE, text=True
        )


@pytest.fixture
def machines(tmp_path: Path, python: str) -> Machines:
    write_tiny_encoder(tmp_path / "encoder", WORDS, sizes=ONE_LAYER)
    (tmp_path / "splits.json").write_text(to_json(store_splits(make_run(tmp_path).store)))
    return Machines(python, tmp_path)


def ends(*started: "subprocess.Popen[str]") -> tuple[list[int], list[str]]:
    """How each has ended, and what it said."""
    said = [each.communicate(timeout=120)[1] for each in started]
    return [each.returncode for each in started], said


def until(there: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not there():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_where_a_machine_is_killed_the_other_asks_to_be_tried_again_and_both_go_on(machines: Machines) -> None:
    leader, other = machines.start("train"), machines.start("join")
    until(lambda: list((machines.home / "store" / "checkpoints").glob("*/[0-9]*")))
    other.kill()
    status, said = ends(leader, other)
    assert status == [75, -9], said

    given = machines.home / "joined.json"
    status, said = ends(machines.start("train"), machines.start("join", "--output", str(given)))
    assert status == [0, 0], said
    assert "going on from a checkpoint" in said[0]
    assert "going on from a checkpoint" in said[1]
    joined = from_json(given.read_text(), Joined)
    assert (joined.worker, joined.machines) == (1, 2)


def test_machines_that_would_train_different_things_are_both_refused(machines: Machines) -> None:
    status, said = ends(machines.start("train"), machines.start("join", epochs=5))
    assert status == [65, 65], said
    assert ["the machines do not train the same" in each for each in said] == [True, True]


def test_a_machine_with_an_address_that_does_not_come_is_not_waited_for_without_end(machines: Machines) -> None:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    leader = machines.start("train", workers=addresses, wait_minutes=0.02)
    status, said = ends(leader)
    assert status == [-9], said  # the forked Python's, of a process that a signal ended
    assert "waiting for 2 machines to begin, 0.02 minutes at most" in said[0]


def test_those_who_meet_get_the_same_addresses_whoever_comes_first_and_whatever_an_earlier_try_said(
    tmp_path: Path,
) -> None:
    three = replace(TWO, machines=3)

    def comes(number: int) -> Workers | Alone:
        time.sleep(0.1 * (2 - number))
        return gather(three, make_run(tmp_path), number, {"SINCERE_ADDRESS": f"gpu-{number}:{port}"})

    for port in (2222, 3333):  # the words of the first meeting are there in the second
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(comes, range(3)))
        addresses = tuple(f"gpu-{number}:{port}" for number in range(3))
        assert found == [Workers(cluster={"worker": addresses}, role="worker", index=number) for number in range(3)]


@pytest.mark.parametrize("number", [0, 1])
def test_who_waits_in_vain_asks_to_be_tried_again(tmp_path: Path, number: int) -> None:
    with pytest.raises(OutOfResources, match="did not come in time") as caught:
        gather(replace(TWO, wait_minutes=0.001), make_run(tmp_path), number, {})
    assert caught.value.exit_status == 75


def test_one_machine_meets_nobody(tmp_path: Path) -> None:
    assert gather(TrainConfig(), make_run(tmp_path), 0, {}) == Alone()
    assert not (tmp_path / "store").exists()


def test_addresses_in_the_settings_need_no_meeting_and_must_be_as_many(tmp_path: Path) -> None:
    settings = replace(TWO, workers=("gpu-1:2222", "gpu-2:2222"))
    assert gather(settings, make_run(tmp_path), 1, {}) == Workers(
        cluster={"worker": settings.workers}, role="worker", index=1
    )
    with pytest.raises(ConfigError, match="3 machines are to train, and 2 have an address"):
        gather(replace(settings, machines=3), make_run(tmp_path), 1, {})


def test_a_machine_beyond_their_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no worker 2 among 2"):
        gather(TWO, make_run(tmp_path), 2, {})


def test_a_machine_says_where_it_can_be_reached(tmp_path: Path) -> None:
    assert own_address({"SINCERE_ADDRESS": "gpu-1.example.com:2222"}) == "gpu-1.example.com:2222"
    host, port = own_address({"SINCERE_ADDRESS": "gpu-1"}).split(":")
    assert (host, int(port) > 1023) == ("gpu-1", True)
    host, port = own_address({}).split(":")
    assert (host.count("."), int(port) > 1023) == (3, True)
