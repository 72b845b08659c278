"""The parts that `make up` starts: how they end together, and what happens when one dies."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from scripts.up import PARTS
from tests.live import Terminal, command_of, environment_of, free_port, processes_of, until, wait_for_parts

# `make up` to which each part has run for a while as soon as it has begun.
_PATIENT_UP = "import sys; from scripts import up; up._SETTLED_SECONDS = 0; sys.exit(up.main())"
_STUBBORN_PART = """#!/bin/bash
(trap '' TERM INT HUP; exec sleep 1000) &
exec tail -f /dev/null "$1" 2> /dev/null
"""


@pytest.fixture
def up_command() -> list[str]:
    """The program behind `make up`."""
    return ["-m", "scripts.up"]


@pytest.fixture
def stubborn_start(tmp_path: Path, up_command: list[str]) -> Iterator[Terminal]:
    """The start of parts that end at a signal, and leave a child that does not, as Airflow's scheduler may."""
    program = tmp_path / "bin" / "airflow"
    program.parent.mkdir()
    program.write_text(_STUBBORN_PART, encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / "airflow").mkdir()
    variables = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__API__PORT": str(free_port()),
        "AIRFLOW__API__BASE_URL": "http://localhost:9",
    }
    command = [".venv/bin/python", *up_command]
    environment = environment_of(tmp_path, **variables)
    terminal = Terminal(command, environment=environment, screen=tmp_path.with_suffix(".screen"))
    try:
        yield terminal
    finally:
        terminal.end()
        for process in processes_of(tmp_path):
            process.kill()


@pytest.fixture
def stubborn(stubborn_start: Terminal, tmp_path: Path) -> Terminal:
    """The same, when all parts run."""
    wait_for_parts(stubborn_start)
    until(lambda: len(_children(tmp_path)) == len(PARTS), seconds=30, what="the children")
    return stubborn_start


@pytest.mark.parametrize("part", PARTS)
def test_signals_that_come_while_parts_start_leave_nothing_behind(
    stubborn_start: Terminal, tmp_path: Path, part: str
) -> None:
    ours = until(lambda: _starters(tmp_path), seconds=30, what="the process that starts the parts")[0]
    log = tmp_path / "airflow" / "logs" / f"{part}.log"
    while not log.exists():
        assert not stubborn_start.has_ended
    for number in (signal.SIGSTOP, signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
        ours.send_signal(number)
    assert stubborn_start.wait() == 0
    assert processes_of(tmp_path) == []
    assert "Traceback" not in stubborn_start.printed


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed")
def test_parts_end_with_the_process_that_started_them(stubborn: Terminal, tmp_path: Path) -> None:
    _starter(tmp_path).kill()
    until(
        lambda: not [process for process in processes_of(tmp_path) if _part(process)],
        seconds=30,
        what="the end of the parts",
    )


def test_a_part_that_dies_at_once_ends_the_others_with_its_name_and_log(stubborn: Terminal, tmp_path: Path) -> None:
    _process_of("dag-processor", tmp_path).kill()
    assert stubborn.wait() != 0
    assert "make up: the dag-processor has ended with status -9; see " in stubborn.printed
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("up_command", [["-c", _PATIENT_UP]])
def test_a_part_that_dies_later_is_started_again(stubborn: Terminal, tmp_path: Path) -> None:
    dead = _process_of("scheduler", tmp_path)
    dead.kill()
    until(lambda: "is started again" in stubborn.printed, seconds=30, what="the word", told=lambda: stubborn.printed)
    log = tmp_path / "airflow" / "logs" / "scheduler.log"
    assert f" the scheduler has ended with status -9, and is started again; its log says why: {log}" in stubborn.printed
    until(lambda: _processes_of("scheduler", tmp_path), seconds=30, what="the new scheduler")
    until(lambda: len(_children(tmp_path)) == len(PARTS), seconds=30, what="the children, without those of the dead")
    stubborn.press_ctrl_c()
    assert stubborn.wait() == 0
    assert processes_of(tmp_path) == []


def _process_of(part: str, home: Path) -> psutil.Process:
    return _processes_of(part, home)[0]


def _processes_of(part: str, home: Path) -> list[psutil.Process]:
    return [process for process in processes_of(home) if _part(process) == part]


def _starter(home: Path) -> psutil.Process:
    (ours,) = _starters(home)
    return ours


def _starters(home: Path) -> list[psutil.Process]:
    return [process for process in processes_of(home) if command_of(process)[1:] == ["-m", "scripts.up"]]


def _part(process: psutil.Process) -> str:
    """The name of the part whose process it is; none for its child."""
    return next((word for word in command_of(process) if word in PARTS), "")


def _children(home: Path) -> list[psutil.Process]:
    return [process for process in processes_of(home) if command_of(process)[:1] == ["sleep"]]
