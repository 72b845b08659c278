"""`make up`: run Airflow's parts on this machine until Ctrl-C, each with a log of its own, and say where to go.

`airflow standalone` mixes the logs of all parts on the terminal, goes on without a part that has died, and leaves the
parts running when the terminal closes.
"""

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

import requests

from ml.store.locks import try_lock

# The scheduler and the triggerer would offer their logs to the network; the API server finds them on the disk.
PARTS = {
    "api-server": ["--host", "127.0.0.1"],
    "dag-processor": [],
    "scheduler": ["--skip-serve-logs"],
    "triggerer": ["--skip-serve-logs"],
}
SETTINGS = {
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
}
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PORTS = 2**16
_READY_SECONDS = 300
_STOP_SECONDS = 60
_SETTLED_SECONDS = 60
_SERVER_STOP_SECONDS = 10  # it answers nobody any more, but Python takes long to forget all that it has loaded

Parts = Mapping[str, "_Part"]


class NotUpError(Exception):
    """Tells a person why Airflow does not run."""


class _EndedError(Exception):
    """Says that a person wants no Airflow any more."""


class _Wish:
    """Whether a signal has asked for the end.

    A handler that raised would raise again where the parts are being stopped: `make` passes on a signal that the
    terminal has sent to all.
    """

    def __init__(self) -> None:
        self.is_to_end = False
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and `&` ignore some
                signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self.is_to_end = True


def main() -> int:
    """Run all parts; return 0 when a signal has ended them, 1 when Airflow cannot run."""
    wish = _Wish()
    try:
        _run_alone(Path(os.environ["AIRFLOW_HOME"]), wish)
    except NotUpError as error:
        print(f"make up: {error}", file=sys.stderr)
        return 1
    except _EndedError:
        pass
    return 0


def _run_alone(home: Path, wish: _Wish) -> None:
    (home / "up.lock").touch()
    with try_lock(home / "up.lock") as alone:
        if not alone:
            raise NotUpError("Airflow runs on this home already; the terminal where it was started has the address")
        _refuse_taken_port(_port(os.environ["AIRFLOW__API__PORT"]))
        _run(_Server(os.environ["AIRFLOW__API__BASE_URL"], home), home / "logs", wish)


def _port(asked: str) -> int:
    if not (asked.isdecimal() and 0 < int(asked) < _PORTS):
        raise NotUpError(f"{asked!r} is no port; choose a number: make up PORT=8080")
    return int(asked)


def _refuse_taken_port(port: int) -> None:
    with suppress(OSError), socket.create_connection(("localhost", port), timeout=5):
        raise NotUpError(f"port {port} is taken by another program; choose another: make up PORT={port + 1}")


def _run(server: "_Server", logs: Path, wish: _Wish) -> None:
    with _started(logs) as parts:
        print(f"Airflow starts. The logs of its parts: {logs}", flush=True)
        watch = partial(_watch, parts, logs, wish)
        _wait_until_ready(server, watch, logs)
        print(_welcome(server, logs), flush=True)
        while True:
            watch()
            time.sleep(0.5)


class _Server:
    """Airflow's API server, as the user whose password it has generated."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self._since = datetime.now(UTC)
        self._passwords = home / "simple_auth_manager_passwords.json.generated"
        _private(self._passwords).close()  # the server itself would let everybody read it
        self._session = requests.Session()

    @property
    def password(self) -> str:
        return str(json.loads(self._passwords.read_text(encoding="utf-8"))["admin"])

    def is_ready(self) -> bool:
        """Whether all parts are healthy, and the DAG processor has read the DAGs."""
        health = self._session.get(f"{self.url}/api/v2/monitor/health", timeout=10)
        if not health.ok or {part["status"] for part in health.json().values()} != {"healthy"}:
            return False
        self._log_in()
        broken = {error["filename"] for error in self.import_errors()}
        dags = [dag for dag in self.dags() if dag["relative_fileloc"] not in broken]
        return bool(broken or dags) and all(self._is_read(dag) for dag in dags)

    def dags(self) -> list[dict[str, Any]]:
        return list(self._get("/api/v2/dags")["dags"])

    def import_errors(self) -> list[dict[str, Any]]:
        return list(self._get("/api/v2/importErrors")["import_errors"])

    def _is_read(self, dag: Mapping[str, Any]) -> bool:
        read = dag["last_parsed_time"]
        return read is not None and datetime.fromisoformat(read) > self._since

    def _log_in(self) -> None:
        user = {"username": "admin", "password": self.password}
        answer = self._session.post(f"{self.url}/auth/token", json=user, timeout=10)
        answer.raise_for_status()
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _get(self, path: str) -> Any:
        answer = self._session.get(f"{self.url}{path}", timeout=10)
        answer.raise_for_status()
        return answer.json()


def _wait_until_ready(server: _Server, watch: Callable[[], None], logs: Path) -> None:
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end:
        watch()
        with suppress(requests.RequestException):
            if server.is_ready():
                return
        time.sleep(0.5)
    raise NotUpError(f"Airflow was not ready within {_READY_SECONDS} seconds; its logs say why: {logs}")


def _welcome(server: _Server, logs: Path) -> str:
    broken = [f"BROKEN     {error['filename']}: {_problem(error)}" for error in server.import_errors()]
    paused = [dag["dag_id"] for dag in server.dags() if dag["is_paused"] and dag["timetable_summary"]]
    schedule = [f"schedule   {name} is paused; its switch in the list of DAGs starts it" for name in paused]
    lines = [
        f"address    {server.url}",
        "user       admin",
        f"password   {server.password}",
        *(schedule or ["schedule   on"]),
        'a shell    eval "$(make env)" there, then plain `airflow` works on the same home',
        f"logs       {logs}",
        "to stop    Ctrl-C",
    ]
    return "\n".join(["", *broken, *lines])


def _problem(error: Mapping[str, Any]) -> str:
    """Return the line of a traceback that names the exception."""
    lines = str(error["stack_trace"]).splitlines()
    return next((line for line in reversed(lines) if re.match(r"[\w.]+: ", line)), lines[-1])


@contextmanager
def _started(logs: Path) -> Iterator[Parts]:
    """Run all parts; stop them, and all that they have started, when the context ends."""
    logs.mkdir(parents=True, exist_ok=True)
    parts: dict[str, _Part] = {}
    try:
        for name, options in PARTS.items():
            parts[name] = _Part(["airflow", name, *options], logs / f"{name}.log")
        yield parts
    finally:
        with suppress(OSError):  # the terminal may be gone
            print("\nAirflow stops; a step that runs is stopped, and tried again next time", flush=True)
        server = parts.pop("api-server", None)
        _stop(*parts.values(), seconds=_STOP_SECONDS)
        if server is not None:  # the last, since a task that is stopped tells it how it ended
            _stop(server, seconds=_SERVER_STOP_SECONDS)


class _Part:
    """A part of Airflow that runs in a session of its own, so that a terminal's Ctrl-C does not reach all at once."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._command = command
        self._log = log
        self._log.unlink(missing_ok=True)
        self.start()

    def start(self) -> None:
        """Start its process; what it says is added to its log."""
        command = self._command
        if shutil.which("setpriv"):  # if we are killed, the parts end too
            command = ["setpriv", "--pdeathsig", "TERM", "--", *command]
        with _private(self._log) as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=file, start_new_session=True, env=os.environ | SETTINGS
            )
        self._since = time.monotonic()

    @property
    def has_settled(self) -> bool:
        """Whether it has run for so long that a new start may help."""
        return time.monotonic() - self._since > _SETTLED_SECONDS

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def _stop(*parts: _Part, seconds: float) -> None:
    """Ask parts and their children to end; kill what is left of them when the time, which is one for all, is over."""
    for part in parts:
        part.signal(signal.SIGTERM)
    end = time.monotonic() + seconds
    for part in parts:
        with suppress(subprocess.TimeoutExpired):
            part.process.wait(max(0, end - time.monotonic()))
        part.signal(signal.SIGKILL)
        part.process.wait()


def _watch(parts: Parts, logs: Path, wish: _Wish) -> None:
    """Start parts that have ended again; raise _EndedError at a signal, or if the terminal is gone without one.

    Airflow's scheduler ends at what it does not expect in its database, such as a run that a person deletes.

    Raises:
        NotUpError: if a part has ended soon after its start.
    """
    if wish.is_to_end or _is_closed(sys.stdout):
        raise _EndedError
    for name, part in parts.items():
        if part.process.poll() is not None:
            _start_again(part, f"the {name} has ended with status {part.process.returncode}", logs / f"{name}.log")


def _start_again(part: _Part, what: str, log: Path) -> None:
    if not part.has_settled:
        raise NotUpError(f"{what}; see {log}")
    part.signal(signal.SIGKILL)
    part.start()
    print(f"{datetime.now():%H:%M:%S} {what}, and is started again; its log says why: {log}", flush=True)


def _is_closed(output: IO[str]) -> bool:
    """Whether nobody reads it any more."""
    poll = select.poll()
    poll.register(output, 0)  # what it tells is that the other end is closed
    return bool(poll.poll(0))


def _private(path: Path) -> IO[bytes]:
    """Open a file for appending that only its owner may read: it has the password."""
    file = path.open("ab")
    path.chmod(0o600)
    return file


if __name__ == "__main__":
    sys.exit(main())
