"""`make up` and `make env`, as a person meets them in a terminal."""

import json
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from scripts.up import PARTS
from tests.live import (
    MAKE,
    PROJECT,
    Airflow,
    Terminal,
    command_of,
    environment_of,
    free_port,
    make_up,
    processes_of,
    until,
    wait_for_airflow,
)

# Many tasks at once, each of which says in which process it ran.
_CROWD = """
import os, time
from pathlib import Path
from airflow.sdk import dag, task

@dag(schedule=None, catchup=False)
def crowd():
    @task
    def seen(number):
        time.sleep(0.2)
        with Path(__file__).with_name("seen.txt").open("a") as file:
            file.write(f"{number} {os.getpid()}\\n")
    for number in range(20):
        seen.override(task_id=f"seen_{number}")(number)

crowd()
"""
# The steps of the runs that the scheduler starts; those of a shell run the real program.
_ENDLESS_STEP = """#!/bin/sh
echo $$ > "${0%/*}/pid"
exec sleep 1000
"""
_STUBBORN_PART = """#!/bin/bash
(trap '' TERM INT HUP; exec sleep 1000) &
exec tail -f /dev/null "$1" 2> /dev/null
"""

Shell = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up") / 'Jane\'s "home" here'


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The DAGs of the project, one with many tasks, and one that is broken."""
    folder = tmp_path_factory.mktemp("some") / "dags"
    shutil.copytree(PROJECT / "dags", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "crowd.py").write_text(_CROWD, encoding="utf-8")
    (folder / "broken.py").write_text("from airflow.sdk import dag\n1 / 0\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def arguments(port: int, dags: Path) -> list[str]:
    return [f"PORT={port}", f"AIRFLOW__CORE__DAGS_FOLDER={dags}"]


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for temporary files."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that each step of the scheduler's runs is."""
    program = tmp_path_factory.mktemp("step") / "endless"
    program.write_text(_ENDLESS_STEP, encoding="utf-8")
    program.chmod(0o755)
    return program


@pytest.fixture(scope="module")
def terminal(home: Path, arguments: list[str], temporary: Path, step: Path) -> Iterator[Terminal]:
    with make_up(home, *arguments, ML_PYTHON=str(step), TMPDIR=str(temporary)) as terminal:
        yield terminal


@pytest.fixture(scope="module")
def airflow(terminal: Terminal, home: Path) -> Airflow:
    return wait_for_airflow(terminal, home)


@pytest.fixture(scope="module")
def shell(airflow: Airflow, home: Path, arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Run a line in a shell that has run `eval "$(make env)"`, in a folder far from the project."""
    folder = tmp_path_factory.mktemp("far away")
    env = shlex.join([*MAKE, "-sC", str(PROJECT), "env", *arguments])

    def run(line: str) -> "subprocess.CompletedProcess[str]":
        script = f'eval "$({env})"\ncd {shlex.quote(str(folder))}\n{line}'
        return subprocess.run(
            ["bash", "-euc", script], env=environment_of(home), check=False, capture_output=True, text=True
        )

    return run


def test_the_last_lines_say_where_to_go_and_how_to_go_on(terminal: Terminal, airflow: Airflow, port: int) -> None:
    told = terminal.printed.rpartition("\n\n")[2].splitlines()
    assert f"address    http://localhost:{port}" in told
    assert "user       admin" in told
    assert f"password   {airflow.password}" in told
    assert "schedule   retrain_quora is paused; its switch in the list of DAGs starts it" in told
    assert 'a shell    eval "$(make env)" there, then plain `airflow` works on the same home' in told
    assert f"logs       {airflow.logs}" in told
    assert told[-1] == "to stop    Ctrl-C"


def test_a_broken_dag_is_named_with_its_error(terminal: Terminal, airflow: Airflow) -> None:
    assert "BROKEN     broken.py: ZeroDivisionError: division by zero" in terminal.printed
    assert "Traceback" not in terminal.printed


def test_the_terminal_stays_readable(terminal: Terminal, airflow: Airflow) -> None:
    assert len(terminal.printed.splitlines()) < 15
    assert {path.name for path in airflow.logs.glob("*.log")} == {
        *("api-server.log", "dag-processor.log", "scheduler.log", "triggerer.log")
    }


def test_only_this_machine_reaches_it(home: Path, airflow: Airflow, port: int) -> None:
    listening = {
        connection.laddr[:2]
        for process in processes_of(home)
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", port)}


def test_only_its_owner_reads_the_password(airflow: Airflow, home: Path) -> None:
    with_password = [
        path for path in home.rglob("*") if path.is_file() and airflow.password.encode() in path.read_bytes()
    ]
    assert {path.name for path in with_password} == {"simple_auth_manager_passwords.json.generated", "api-server.log"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in with_password} == {0o600}


def test_a_second_one_on_the_same_home_says_so(airflow: Airflow, home: Path) -> None:
    with make_up(home, f"PORT={free_port()}") as second:
        assert second.wait() != 0
        assert "make up: Airflow runs on this home already" in second.printed
    assert airflow.call("GET", "/api/v2/monitor/health").ok


@pytest.fixture
def used_home(tmp_path: Path) -> Path:
    """A home as `make up` leaves it, in the eyes of `make`."""
    home = tmp_path / "home"
    (home / "airflow").mkdir(parents=True)
    for seconds, mark in enumerate(("migrated", "ready")):
        (home / "airflow" / mark).touch()
        os.utime(home / "airflow" / mark, times=(time.time() + seconds,) * 2)
    return home


def test_a_taken_port_is_named_with_the_way_out(used_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        with make_up(used_home, f"PORT={taken}") as second:
            assert second.wait() != 0
            assert (
                f"port {taken} is taken by another program; choose another: make up PORT={taken + 1}" in second.printed
            )


@pytest.mark.parametrize("port", ["http", "0", "65536"])
def test_what_is_no_port_is_refused(port: str, tmp_path: Path) -> None:
    environment = environment_of(tmp_path) | {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__API__PORT": port}
    environment |= {"AIRFLOW__API__BASE_URL": "http://localhost"}
    command = [".venv/bin/python", "-m", "scripts.up"]
    ended = subprocess.run(command, cwd=PROJECT, env=environment, check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (
        1,
        f"make up: {port!r} is no port; choose a number: make up PORT=8080\n",
    )


def test_plain_airflow_works_in_any_folder(shell: Shell) -> None:
    listed = shell("airflow dags list --columns dag_id --output json 2> /dev/null")
    assert {"dag_id": "retrain_quora"} in json.loads(listed.stdout.splitlines()[-1])


def test_the_schedulers_of_a_home_leave_the_runs_of_a_shell_alone(shell: Shell, airflow: Airflow, dags: Path) -> None:
    airflow.call("PATCH", "/api/v2/dags/crowd", is_paused=False).raise_for_status()
    tested = shell('"$FORKED_AIRFLOW" dags test crowd')
    assert tested.returncode == 0, tested.stdout + tested.stderr
    seen = [line.split() for line in (dags / "seen.txt").read_text().splitlines()]
    assert sorted(int(number) for number, _ in seen) == list(range(20))
    assert len({pid for _, pid in seen}) == 1
    (run,) = airflow.get("/api/v2/dags/crowd/dagRuns")["dag_runs"]
    assert run["state"] == "success"
    tasks = airflow.get(f"/api/v2/dags/crowd/dagRuns/{run['dag_run_id']}/taskInstances")["task_instances"]
    assert {task["try_number"] for task in tasks} == {1}


def test_one_task_runs_alone(shell: Shell, airflow: Airflow, dags: Path) -> None:
    (dags / "seen.txt").unlink(missing_ok=True)
    tested = shell('"$FORKED_AIRFLOW" tasks test crowd seen_7')
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert [line.split()[0] for line in (dags / "seen.txt").read_text().splitlines()] == ["7"]


def test_a_step_runs_from_a_shell_in_any_folder(shell: Shell, home: Path) -> None:
    conf = shlex.quote(json.dumps({"source": "sample:300"}))
    tested = shell(f"$FORKED_AIRFLOW tasks test retrain_quora snapshot --task-params {conf}")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert list((home / "store").rglob("*.parquet"))


def test_two_processes_share_the_database(airflow: Airflow) -> None:
    logs = "".join(path.read_text(errors="replace") for path in airflow.logs.glob("*.log"))
    assert "database is locked" not in logs


def test_ctrl_c_ends_all_parts_and_the_step_that_runs(
    terminal: Terminal, airflow: Airflow, home: Path, temporary: Path, step: Path
) -> None:
    airflow.call("PATCH", "/api/v2/dags/retrain_quora", is_paused=False).raise_for_status()
    airflow.call("POST", "/api/v2/dags/retrain_quora/dagRuns", logical_date=None).raise_for_status()
    until(lambda: step.with_name("pid").exists(), seconds=120, what="the step")
    terminal.press_ctrl_c()
    terminal.wait(seconds=120)
    assert processes_of(home) == []
    assert list(temporary.iterdir()) == []
    assert "Traceback" not in terminal.printed
    with closing(sqlite3.connect(home / "airflow" / "airflow.db")) as database:
        query = "select state from task_instance where dag_id = 'retrain_quora' and task_id = 'snapshot'"
        assert database.execute(query).fetchall() == [("up_for_retry",)]


@pytest.fixture
def starting(home: Path, arguments: list[str], terminal: Terminal) -> Iterator[Terminal]:
    """A start on a home that has been used; all parts run, but none is ready."""
    with make_up(home, *arguments) as starting:
        _wait_for_parts(starting)
        yield starting


def test_a_closed_terminal_leaves_nothing_behind(starting: Terminal, home: Path) -> None:
    starting.close()
    _wait_for_the_end(home)


# `make up` to which each part has run for a while as soon as it has begun.
_PATIENT_UP = "import sys; from scripts import up; up._SETTLED_SECONDS = 0; sys.exit(up.main())"


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
    _wait_for_parts(stubborn_start)
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


def _wait_for_parts(terminal: Terminal) -> None:
    until(
        lambda: "The logs of its parts" in terminal.printed,
        seconds=60,
        what="the start",
        told=lambda: terminal.printed,
    )


def _wait_for_the_end(home: Path) -> None:
    until(lambda: not processes_of(home), seconds=120, what="the end", told=lambda: str(processes_of(home)))
