"""Faults on the running stack of docker-compose.yaml, one stack for all of them: `make test-containers`.

After each the runs have ended, the registry is as before or as after, and what was said says what to do. What became of
them stands in docs/operations.md, which names these tests.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.bad_sources import BUCKET_TROUBLES, HTTP_TROUBLES
from tests.containers.soundness import unharmed
from tests.containers.stack import INPUT, PROJECT, SOURCES, STATE, Stack, engine, race, running_stack

pytestmark = pytest.mark.containers
AWAY_SECONDS = 120
# Some minutes of training, and less of it.
LONG = {"epochs": 50, "batch_size": 8, "force": True}
SHORT = {"epochs": 8, "batch_size": 8, "force": True}

# A state on a small disk, which stays as long as any part has it, and a server of questions that behaves badly.
_FAULTS = f"""
services:
  worker:
    environment:
      AWS_ENDPOINT_URL: http://sources:9000
      AWS_ACCESS_KEY_ID: the-user
      AWS_SECRET_ACCESS_KEY: the-secret
      AWS_DEFAULT_REGION: us-east-1
  sources:
    image: sincere-ml
    command: [python, -m, tests.containers.bad_sources, {INPUT}/questions.csv]
    volumes: [state:{STATE}, "{PROJECT}/tests:/opt/sincere/tests:ro"]
    init: true
volumes:
  state: {{driver_opts: {{type: tmpfs, device: tmpfs, o: "size=400m,uid=50000"}}}}
"""
_REAL = "FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1"
_ASK = "import sys, urllib.request as web; web.urlopen(web.Request(sys.argv[1], method='POST'), timeout=20)"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if trouble := engine():
        pytest.skip(f"a Docker engine with Compose is needed: {trouble}")
    with running_stack("sincere-test-faults", tmp_path_factory.mktemp("faults"), _FAULTS) as stack:
        assert stack.ended(stack.trigger())["state"] == "success"
        yield stack


def behave(stack: Stack, trouble: str) -> None:
    """Tell the servers of questions how to behave."""
    stack.within("sources", "python", "-c", _ASK, f"{SOURCES}/{trouble.replace(' ', '-')}")


@pytest.mark.parametrize("trouble", HTTP_TROUBLES)
def test_a_source_that_changes_drips_or_lies_about_its_length_is_given_up_and_tried_again(
    stack: Stack, trouble: str
) -> None:
    assert "did not give the whole file in" in tried_again(stack, trouble, f"{SOURCES}/questions.csv")


@pytest.mark.parametrize("trouble", [each for each in BUCKET_TROUBLES if each != "refuses"])
def test_a_bucket_that_is_slow_or_cut_off_is_given_up_and_tried_again(stack: Stack, trouble: str) -> None:
    assert "did not give the whole file in" in tried_again(stack, trouble, "s3://lake/questions/train.csv")


def tried_again(stack: Stack, trouble: str, source: str) -> str:
    """Run on a source in trouble, mend it after the first try, and return what that has logged; the second succeeds."""
    with unharmed(stack):
        behave(stack, trouble)
        run_id = stack.trigger(source=source)
        told = stack.has_tried(run_id, "snapshot", 1)
        behave(stack, "well")
        stack.try_again_now(run_id, "snapshot")
        assert stack.ended(run_id)["state"] == "success"
    assert "what to do: " in told
    return told


def test_a_bucket_that_refuses_waits_for_a_person(stack: Stack) -> None:
    with unharmed(stack, runs=0):
        behave(stack, "refuses")
        run_id = stack.trigger(source="s3://lake/questions/train.csv")
        assert stack.ended(run_id)["state"] == "failed"
    behave(stack, "well")
    assert stack.tasks(run_id)["snapshot"]["try_number"] == 1
    told = stack.log(run_id, "snapshot", 1)
    assert "the bucket forbids access" in told
    assert "what to do: check the bucket, the key and the rights of the credentials" in told


def test_two_runs_on_two_workers_for_one_alias_promote_one_after_the_other_or_one_of_them(stack: Stack) -> None:
    stack.up("--no-build", "--no-recreate", "--scale", "worker=2")
    with unharmed(stack, runs=2):
        race(stack, "--index", "2", "worker")
    assert [entry["run_id"] for entry in stack.history() if entry["promoted"]][1:]
    stack.up("--no-build", "--no-recreate", "--scale", "worker=1")


def test_a_run_survives_that_database_and_broker_are_started_again_and_then_away_for_two_minutes(stack: Stack) -> None:
    with unharmed(stack):
        run_id = stack.trigger(**LONG)
        stack.trains(run_id)
        for part in ("postgres", "redis"):
            stack.compose("restart", part)
            stack.wait_until_healthy()
            stack.compose("stop", part)
            time.sleep(AWAY_SECONDS)
            stack.compose("start", part)
            stack.wait_until_healthy()
        assert stack.ended(run_id)["state"] == "success"
    assert {task["try_number"] for task in stack.tasks(run_id).values()} <= {0, 1}


def test_a_run_whose_disk_gets_full_goes_on_where_it_was_when_there_is_room_again(stack: Stack) -> None:
    with unharmed(stack):
        fill(stack)
        run_id = stack.trigger(**SHORT, source=f"{SOURCES}/questions.csv")
        downloaded = room_after(stack, run_id, "snapshot", 1)
        stack.trains(run_id)
        fill(stack)
        trained = stack.has_tried(run_id, "train", 1)
        exporting = filling_when(stack, "store/staging/*/model")
        free(stack, run_id, "train")
        exported = room_after(stack, run_id, "train", 2, exporting)
        reporting = filling_when(stack, "store/comparisons/*")
        reported = room_after(stack, run_id, "evaluate", 1, reporting)
        assert stack.ended(run_id)["state"] == "success"
    for log in (downloaded, trained, exported, reported):
        assert "free some space there" in log
    assert "exporting the model" in exported


def fill(stack: Stack, *pattern: str) -> None:
    """Fill the disk of the state."""
    stack.within("sources", "python", "-m", "tests.containers.full_disk", STATE, *pattern)


def filling_when(stack: Stack, pattern: str) -> "subprocess.Popen[str]":
    """Begin to look out for something new that matches the pattern, to fill the disk of the state then."""
    command = [*stack.command, "exec", "--no-TTY", "sources", "python", "-m", "tests.containers.full_disk", STATE]
    waiting = subprocess.Popen(
        [*command, pattern], cwd=PROJECT, env=stack.environment, stdout=subprocess.PIPE, text=True
    )
    assert waiting.stdout
    assert waiting.stdout.readline() == "waiting\n"
    return waiting


def room_after(stack: Stack, run_id: str, task: str, attempt: int, *filling: "subprocess.Popen[str]") -> str:
    """Wait until a try has failed, make room, let Airflow try again, and return what the try has logged."""
    told = stack.has_tried(run_id, task, attempt)
    for process in filling:
        with process:
            assert process.wait(timeout=60) == 0
    free(stack, run_id, task)
    return told


def free(stack: Stack, run_id: str, task: str) -> None:
    stack.within("sources", "rm", f"{STATE}/filler")
    stack.try_again_now(run_id, task)


def test_of_two_schedulers_one_may_die_during_a_run(stack: Stack) -> None:
    stack.up("--no-build", "--no-recreate", "--scale", "scheduler=2")
    with unharmed(stack):
        run_id = stack.trigger(**SHORT)
        stack.trains(run_id)
        stack.docker("kill", "--signal", "SIGKILL", stack.containers("scheduler")[0])
        run = stack.ended(run_id)
    assert run["state"] == "success"
    assert stack.tasks(run_id)["train"]["try_number"] == 1
    stack.up("--no-build", "--no-recreate", "--scale", "scheduler=1")


def test_a_run_whose_worker_sets_its_clock_back_by_two_hours_during_a_training_ends_as_any_other(stack: Stack) -> None:
    clock = write_clock(stack.folder / "clock")
    worker = stack.with_file(clock / "compose.yaml")
    worker.up("--no-build")
    worker.give_input("worker")  # the state of this stack lies in memory, and may have gone with the other worker
    worker.ended(worker.trigger())
    before = worker.history()
    with unharmed(worker):
        run_id = worker.trigger(**LONG)
        worker.trains(run_id)
        (clock / "rc").write_text("-2h\n", encoding="utf-8")
        worker.until(lambda: hours_back(worker) == 2, seconds=120, what="the clock")
        assert worker.attempt(run_id, "train") == (1, "running")
        assert worker.ended(run_id)["state"] == "success"
    *earlier, last = worker.history()
    assert earlier == before
    assert last["time"] < before[-1]["time"]
    assert {task["try_number"] for task in worker.tasks(run_id).values()} <= {0, 1}
    stack.up("--no-build")


def write_clock(folder: Path) -> Path:
    """Write a file of Compose by which the worker and its steps take the time from libfaketime, which reads `rc`.

    As on a machine whose clock is set back, what measures durations goes on, and files keep their times.
    """
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not libraries:
        pytest.skip("the package libfaketime is needed")
    folder.mkdir()
    (folder / "rc").write_text("+0\n", encoding="utf-8")
    (folder / "python").write_text(f'#!/bin/sh\nexport {_REAL}\nexec python "$@"\n', encoding="utf-8")
    (folder / "python").chmod(0o755)
    environment = ["LD_PRELOAD=/opt/libfaketime.so.1", "ML_PYTHON=/opt/python", *_REAL.split()]
    mounts = {libraries[0]: "/opt/libfaketime.so.1", folder / "rc": "/etc/faketimerc", folder / "python": "/opt/python"}
    worker = {"environment": environment, "volumes": [f"{here}:{there}:ro" for here, there in mounts.items()]}
    (folder / "compose.yaml").write_text(json.dumps({"services": {"worker": worker}}), encoding="utf-8")
    return folder


def hours_back(stack: Stack) -> int:
    return round((time.time() - float(stack.within("worker", "date", "+%s"))) / 3600)
