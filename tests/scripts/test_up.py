"""`make up` and `make env`, as a person meets them in a terminal and in a browser.

The DAG is one for two machines, which train together in a real Airflow.
"""

import json
import os
import shlex
import shutil
import socket
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import expect
from retraining.params import folder_name

from ml.source.sample import write_sample
from tests.airflow.step.test_figures import listening
from tests.browser import browsing, needs_chromium
from tests.live import (
    MAKE,
    PROJECT,
    Airflow,
    Run,
    Terminal,
    environment_of,
    free_port,
    make_up,
    processes_of,
    until,
    wait_for_airflow,
    wait_for_parts,
)
from tests.tiny import write_tiny_config

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
# The steps of the runs that the scheduler starts: with a file `endless` beside it, they never end.
_STEP = """#!/bin/sh
[ -e "${{0%/*}}/endless" ] || exec {python} "$@"
echo $$ > "${{0%/*}}/pid"
exec sleep 1000
"""
RETRAIN = "retrain_quora"

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
def step(tmp_path_factory: pytest.TempPathFactory, python: str) -> Path:
    """The program that each step of the scheduler's runs is."""
    program = tmp_path_factory.mktemp("step") / "step"
    program.write_text(_STEP.format(python=python), encoding="utf-8")
    program.chmod(0o755)
    return program


@pytest.fixture(scope="module")
def figures() -> Iterator[tuple[dict[tuple[str, ...], float], str]]:
    """What Airflow's tasks have told by OpenTelemetry, and the address where a collector listens."""
    figures: dict[tuple[str, ...], float] = {}
    with listening(figures) as port:
        yield figures, f"http://127.0.0.1:{port}/v1/metrics"


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, step: Path, figures: tuple[object, str], temporary: Path
) -> dict[str, str]:
    """Settings by which two machines train on a few questions; the schedule is far from now, before and behind."""
    folder = tmp_path_factory.mktemp("input")
    write_sample(folder / "questions.csv", rows=1500, seed=1)
    return {
        "ML_PYTHON": str(step),
        "TMPDIR": str(temporary),
        "SINCERE_MACHINES": "2",
        "SINCERE_ADDRESS": "127.0.0.1",
        "SINCERE_SCHEDULE": f"0 {(datetime.now(UTC).hour + 12) % 24} * * *",
        "SINCERE_SOURCE": str(folder / "questions.csv"),
        "SINCERE_CONFIG": str(write_tiny_config(folder)),
        "SINCERE_LOG_FORMAT": "json",
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": figures[1],
    }


@pytest.fixture(scope="module")
def terminal(home: Path, arguments: list[str], settings: dict[str, str]) -> Iterator[Terminal]:
    with make_up(home, *arguments, **settings) as terminal:
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


@pytest.fixture(scope="module")
def trained(airflow: Airflow) -> Run:
    """A run in which two machines train, when it has ended; a shell, which has not these settings, comes later."""
    room = {"pool": "gpu", "slots": 2, "description": "two machines", "include_deferred": False}
    airflow.call("PATCH", "/api/v2/pools/gpu", **room).raise_for_status()
    airflow.switch(RETRAIN, on=True)
    return airflow.ended(RETRAIN, airflow.trigger(RETRAIN))


def test_airflow_starts_all_machines_at_once_and_they_train_one_model(airflow: Airflow, trained: Run) -> None:
    run_id = trained["dag_run_id"]
    tasks = {(task["task_id"], task["map_index"]): task["state"] for task in airflow.tasks(RETRAIN, run_id)}
    assert (tasks["train", -1], tasks["join", 0], tasks["promoted", -1]) == ("success",) * 3, airflow.said()
    joined = f"/api/v2/dags/{RETRAIN}/dagRuns/{run_id}/taskInstances/join/xcomEntries/return_value"
    told = airflow.get(f"{joined}?map_index=0&deserialize=true")["value"]
    told = json.loads(told) if isinstance(told, str) else told
    assert (told["record"], told["worker"], told["machines"]) == ("Joined", 1, 2)


@pytest.mark.usefixtures("trained")
def test_its_tasks_tell_their_figures_by_opentelemetry(figures: tuple[dict[tuple[str, ...], float], str]) -> None:
    told, _ = figures
    labels = {label for name in told if name[0] == "airflow.sincere.step.seconds" for label in name[1:]}
    assert labels >= {"quora", "snapshot", "train", "join", "decide", "promote"}
    assert told["airflow.sincere.verdicts", "promote", "quora"] == 1
    assert told["airflow.sincere.alarms", "quora"] == 0


def test_a_variable_makes_each_line_of_a_step_an_object_with_the_run(
    airflow: Airflow, trained: Run, home: Path
) -> None:
    run_id = trained["dag_run_id"]
    (file,) = (airflow.logs / f"dag_id={RETRAIN}" / f"run_id={run_id}" / "task_id=split").glob("*.log")
    events = [json.loads(line)["event"] for line in file.read_text(encoding="utf-8").splitlines()]
    told = [json.loads(event) for event in events if event.startswith("{")]
    assert told
    assert {(each["command"], each["run_id"]) for each in told} == {("split", folder_name(run_id))}


@needs_chromium
def test_a_person_logs_in_with_the_password_triggers_a_run_and_reads_what_came_of_it(
    airflow: Airflow, trained: Run
) -> None:
    with browsing(airflow) as person:
        person.open_form(RETRAIN).trigger()
        person.rest()
        runs = airflow.get(f"/api/v2/dags/{RETRAIN}/dagRuns?order_by=-run_after")["dag_runs"]
        run = airflow.ended(RETRAIN, runs[0]["dag_run_id"])
        assert (len(runs), run["triggering_user_name"]) == (2, "admin")
        person.open_report(RETRAIN, run["dag_run_id"])
        person.expect_heading("Unchanged")
        person.open(f"/dags/{RETRAIN}/plugin/promotions")
        expect(person.frame().locator(".big")).to_have_text("v1")
        expect(person.frame().get_by_text("There is no champion yet").first).to_be_visible()


def test_plain_airflow_works_in_any_folder(shell: Shell) -> None:
    listed = shell("airflow dags list --columns dag_id --output json 2> /dev/null")
    assert {"dag_id": "retrain_quora"} in json.loads(listed.stdout.splitlines()[-1])


def test_the_schedulers_of_a_home_leave_the_runs_of_a_shell_alone(shell: Shell, airflow: Airflow, dags: Path) -> None:
    airflow.switch("crowd", on=True)
    tested = shell('"$FORKED_AIRFLOW" dags test crowd')
    assert tested.returncode == 0, tested.stdout + tested.stderr
    seen = [line.split() for line in (dags / "seen.txt").read_text().splitlines()]
    assert sorted(int(number) for number, _ in seen) == list(range(20))
    assert len({pid for _, pid in seen}) == 1
    (run,) = airflow.get("/api/v2/dags/crowd/dagRuns")["dag_runs"]
    assert run["state"] == "success"
    assert {task["try_number"] for task in airflow.tasks("crowd", run["dag_run_id"])} == {1}


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
    step.with_name("endless").touch()
    airflow.switch(RETRAIN, on=True)
    run_id = airflow.trigger(RETRAIN)
    until(lambda: step.with_name("pid").exists(), seconds=120, what="the step")
    terminal.press_ctrl_c()
    terminal.wait(seconds=120)
    assert processes_of(home) == []
    assert list(temporary.iterdir()) == []
    assert "Traceback" not in terminal.printed
    with closing(sqlite3.connect(home / "airflow" / "airflow.db")) as database:
        query = "select state from task_instance where run_id = ? and task_id = 'snapshot'"
        assert database.execute(query, [run_id]).fetchall() == [("up_for_retry",)]


@pytest.fixture
def starting(home: Path, arguments: list[str], terminal: Terminal) -> Iterator[Terminal]:
    """A start on a home that has been used; all parts run, but none is ready."""
    with make_up(home, *arguments) as starting:
        wait_for_parts(starting)
        yield starting


def test_a_closed_terminal_leaves_nothing_behind(starting: Terminal, home: Path) -> None:
    starting.close()
    until(lambda: not processes_of(home), seconds=120, what="the end", told=lambda: str(processes_of(home)))
