"""Run `make up` as a person does: in a terminal of its own, on a home of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

PROJECT = Path(__file__).parents[1]
MAKE = ("make", "--assume-old=.venv/installed-all")
# Few processes, and patience with a busy machine.
QUIET = {
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
    "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "300",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",  # nobody changes a DAG
}
RUN_SECONDS = 600  # that a run may take on a busy machine
# That an answer may: when the first task asks, the API server makes what answers tasks, and answers nobody meanwhile.
ANSWER_SECONDS = 120
_IN_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"

Run = dict[str, Any]  # as Airflow's API has it


@dataclass(frozen=True)
class Airflow:
    """A running Airflow: its address, a user who may do everything, the folders of state and logs, and what it says."""

    url: str
    token: str
    state: Path
    logs: Path
    user: str
    password: str
    said: Callable[[], str]  # by its terminal or its logs

    def call(self, method: str, path: str, **body: Any) -> requests.Response:
        """Send one request to the API."""
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            return requests.request(method, self.url + path, json=body or None, headers=headers, timeout=ANSWER_SECONDS)
        except requests.ConnectionError as error:
            error.add_note(f"Airflow says:\n{self.said()}")
            raise

    def get(self, path: str) -> Any:
        """Send a GET request, and return the parsed answer."""
        response = self.call("GET", path)
        response.raise_for_status()
        return response.json()

    def switch(self, dag_id: str, *, on: bool) -> None:
        """Move the switch of a DAG, without which neither its schedule nor a trigger starts a task."""
        self.call("PATCH", f"/api/v2/dags/{dag_id}", is_paused=not on).raise_for_status()

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Trigger a run, and return its id."""
        answer = self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", logical_date=None, conf=conf)
        answer.raise_for_status()
        return str(answer.json()["dag_run_id"])

    def ended(self, dag_id: str, run_id: str) -> Run:
        """Return a run when it has ended."""

        def over() -> Run | None:
            run: Run = self.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
            return run if run["state"] in ("success", "failed") else None

        what = f"the end of {dag_id} {run_id}"
        return dict(until(over, seconds=RUN_SECONDS, what=what, told=self.said, every=1))

    def only_run(self, dag_id: str, run_type: str) -> Run:
        """Return the only run that was started in this way, when it has ended."""

        def started() -> Any:
            return self.get(f"/api/v2/dags/{dag_id}/dagRuns?run_type={run_type}")["dag_runs"]

        what = f"the {run_type} run of {dag_id}"
        (run,) = until(started, seconds=RUN_SECONDS, what=what, told=self.said, every=1)
        return self.ended(dag_id, run["dag_run_id"])

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        return list(self.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"])


class Terminal:
    """A command in a terminal: what it has printed, and what a person does to it."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], screen: Path) -> None:
        with screen.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _IN_A_TERMINAL, *command],
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._screen = screen

    @property
    def printed(self) -> str:
        """All that the command has printed so far."""
        return self._screen.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")

    @property
    def has_ended(self) -> bool:
        """Whether the command has ended."""
        return self._process.poll() is not None

    def press_ctrl_c(self) -> None:
        """Send what a terminal sends."""
        assert self._process.stdin
        self._process.stdin.write(b"\x03")
        self._process.stdin.flush()

    def close(self) -> None:
        """Close the terminal's window: the command gets a SIGHUP, and can print no more."""
        self._process.kill()

    def wait(self, seconds: float = 240) -> int:
        """Wait until the command has ended, and return its exit status."""
        return self._process.wait(timeout=seconds)

    def end(self) -> None:
        """Leave nothing behind, however a test went."""
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


def environment_of(home: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a shell in which nothing but the home is set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "MAKE", "SINCERE"))}
    return {**kept, "SINCERE_HOME": str(home), **variables}


@contextmanager
def make_up(home: Path, *arguments: str, **variables: str) -> Iterator[Terminal]:
    """Run `make up`; when the context ends it is stopped, unless it has ended."""
    home.mkdir(parents=True, exist_ok=True)
    screen = home.parent / f"{home.name}-{time.time_ns()}.screen"
    before = set(processes_of(home))
    environment = environment_of(home, **QUIET, **variables)
    terminal = Terminal([*MAKE, "up", *arguments], environment=environment, screen=screen)
    try:
        yield terminal
    finally:
        with suppress(subprocess.TimeoutExpired, BrokenPipeError):
            terminal.press_ctrl_c()
            terminal.wait()
        terminal.end()
        _kill_all(set(processes_of(home)) - before)


def wait_for_parts(terminal: Terminal) -> None:
    """Wait until `make up` has started all parts, of which none need be ready."""
    until(
        lambda: "The logs of its parts" in terminal.printed,
        seconds=60,
        what="the start",
        told=lambda: terminal.printed,
    )


def wait_for_airflow(terminal: Terminal, home: Path) -> Airflow:
    """Wait until `make up` has told address and password."""
    until(
        lambda: terminal.has_ended or "to stop" in terminal.printed,
        seconds=240,
        what="Airflow",
        told=lambda: terminal.printed,
    )
    assert not terminal.has_ended, terminal.printed
    told = dict(re.findall(r"^(address|user|password) +(\S+)$", terminal.printed, re.MULTILINE))
    who = {"username": told["user"], "password": told["password"]}
    answer = requests.post(f"{told['address']}/auth/token", json=who, timeout=ANSWER_SECONDS)
    answer.raise_for_status()
    return Airflow(
        url=told["address"],
        token=answer.json()["access_token"],
        state=home,
        logs=home / "airflow" / "logs",
        user=told["user"],
        password=told["password"],
        said=lambda: terminal.printed,
    )


def wait_for_question(airflow: Airflow, dag_id: str, run_id: str) -> Mapping[str, Any]:
    """Wait until a run asks a person, and return the question.

    The scheduler must know that the task waits: Airflow loses an answer that comes before that.
    """
    run = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
    seen = f"TaskInstanceKey(dag_id='{dag_id}', task_id='approve', run_id='{run_id}'"

    def asked() -> Any:
        assert airflow.get(run)["state"] in ("queued", "running")
        return airflow.get(f"{run}/hitlDetails")["hitl_details"]

    def known() -> bool:
        lines = (airflow.logs / "scheduler.log").read_text(errors="replace").splitlines()
        return any("Received executor event" in line and seen in line for line in lines)

    def beat() -> Any:
        return airflow.get("/api/v2/monitor/health")["scheduler"]["latest_scheduler_heartbeat"]

    (question,) = until(asked, seconds=RUN_SECONDS, what="the question", told=airflow.said, every=1)
    until(known, seconds=120, what="the scheduler's word of the task that waits")
    last = beat()
    until(lambda: beat() != last, seconds=120, what="the scheduler's next heartbeat")
    return dict(question)


def processes_of(home: Path) -> list[psutil.Process]:
    """Return the processes of Airflow and of steps whose home it is."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _is_of(process, home)]


def command_of(process: psutil.Process) -> list[str]:
    """Return its command line, which is empty if it has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _is_of(process: psutil.Process, home: Path) -> bool:
    """By its environment, or by its open files, since some of Airflow's parts write their title over the former."""
    try:
        return process.environ().get("SINCERE_HOME") == str(home) or any(
            Path(file.path).is_relative_to(home) for file in process.open_files()
        )
    except psutil.Error:  # it has ended meanwhile, or is a zombie
        return False


def until(
    ready: Callable[[], Any], *, seconds: float, what: str, told: Callable[[], str] = str, every: float = 0.5
) -> Any:
    """Wait until `ready`, which is asked every half a second or as said, returns a true value, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := ready():
            return found
        time.sleep(every)
    raise AssertionError(f"{what} was not there after {seconds} s: {told()}")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _kill_all(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
