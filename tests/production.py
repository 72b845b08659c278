"""Run the services of docker-compose.yaml as processes of this machine, with PostgreSQL and Redis but no containers.

Each service has the command and the environment that the file gives it. Only addresses and folders differ, the schedule
is once a day, at this minute, and each Celery worker has a name, because all workers share a host here.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.live import ANSWER_SECONDS, Airflow, free_port

PROJECT = Path(__file__).parents[1]
SECRETS = {
    "POSTGRES_PASSWORD": "the-password-of-the-database",
    "AIRFLOW_FERNET_KEY": "kmZ0XyPp4BLHiWcm3Y1fUvtVtMhdq6F0SgrcYV1Tg8M=",
    "AIRFLOW_JWT_SECRET": "signs-the-tokens-of-all-parts-and-is-long-enough-for-hs512-by-some-letters",
    "AIRFLOW_SECRET_KEY": "signs-the-sessions",
    "AIRFLOW_ADMIN_PASSWORD": "the password of the admin",
}
_VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])([^${}]*))?\}")
_STARTED_FIRST = ("postgres", "redis", "init")


def installed(program: str) -> str | None:
    """Find a program of PostgreSQL or Redis; on Debian, PostgreSQL's programs are not on the PATH."""
    return shutil.which(program) or next(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{program}")), None)


needs_services = pytest.mark.skipif(
    not (installed("initdb") and installed("redis-server")), reason="PostgreSQL and Redis are not installed"
)


def compose_services(environment: Mapping[str, str]) -> dict[str, Any]:
    """Read the services of docker-compose.yaml, and replace variables as Compose does."""
    text = (PROJECT / "docker-compose.yaml").read_text(encoding="utf-8")

    def value(found: re.Match[str]) -> str:
        name, kind, other = found.groups()
        if kind == "?":
            return environment[name]
        return environment.get(name, other or "")

    while _VARIABLE.search(text):  # a default may have a variable in it
        text = _VARIABLE.sub(value, text)
    services: dict[str, Any] = yaml.safe_load(text.replace("$$", "$"))["services"]
    return services


class Production(Airflow):
    """All services of docker-compose.yaml, running."""


@contextmanager
def running_production(folder: Path, python: str, **variables: str) -> Iterator[Production]:
    """Run all services of the file until the context ends; each step is a process of this Python.

    The variables are those that `sincere.env` gives all parts; the DAGs are those of the folder's `dags`.
    """
    ports = {name: str(free_port()) for name in ("postgres", "redis", "api", "worker_log", "trigger_log")}
    parts = _Parts(folder, ports, variables | {"ML_PYTHON": python})
    with ExitStack() as started:
        started.enter_context(_postgres(ports["postgres"]))
        redis = [installed("redis-server"), "--bind", "127.0.0.1", "--port", ports["redis"], "--save", ""]
        started.enter_context(_process([str(word) for word in redis], log=folder / "redis.log"))
        parts.run("init")
        others = [name for name in parts.services if name not in _STARTED_FIRST]
        processes = [started.enter_context(parts.started(name)) for name in others]
        url = f"http://127.0.0.1:{ports['api']}"
        token = until(lambda: _token(url), seconds=120, what="the API server", logs=folder)
        password = SECRETS["AIRFLOW_ADMIN_PASSWORD"]
        yield Production(
            url=url,
            token=token,
            state=folder / "state",
            logs=folder,
            user="admin",
            password=password,
            said=lambda: _last_lines(folder),
        )
        for process in processes:
            process.terminate()


class _Parts:
    """The services' commands and environments, with this machine's addresses and folders."""

    def __init__(self, folder: Path, ports: Mapping[str, str], variables: Mapping[str, str]) -> None:
        told = {
            "SINCERE_SOURCES": str(folder.parent),
            # Airflow makes up at once for a run that was due less than a tenth of a day ago.
            "SINCERE_SCHEDULE": f"{datetime.now(UTC):%M %H} * * *",
            "UI_URL": f"http://127.0.0.1:{ports['api']}",
            "QUEUES": "default",
        }
        services = compose_services({**SECRETS, **told})
        self.services = {name: each for name, each in services.items() if each.get("profiles") in (None, ["gpu"])}
        self._folder = folder
        self._places = {
            "@postgres/": f"@127.0.0.1:{ports['postgres']}/",
            "//redis:6379/": f"//127.0.0.1:{ports['redis']}/",
            "//api-server:8080/": f"//127.0.0.1:{ports['api']}/",
            "/var/lib/sincere": str(folder / "state"),
        }
        self._here = {
            **variables,
            # A program `airflow` that waits for no import comes first.
            "PATH": ":".join(str(Path(file).parent) for file in (os.environ["FORKED_AIRFLOW"], sys.executable))
            + f":{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT),
            "SINCERE_HOME": str(folder / "state"),
            "TF_USE_LEGACY_KERAS": "1",
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",  # a busy machine
            "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "300",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",  # nobody changes a DAG
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
            "AIRFLOW__API__PORT": ports["api"],
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": ports["worker_log"],
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": ports["trigger_log"],
        }

    def run(self, name: str) -> None:
        with self.started(name) as process:
            if process.wait() != 0:
                raise AssertionError(f"{name}: {_last_lines(self._folder)}")

    def started(self, name: str) -> Any:
        service = self.services[name]
        given = {key: self._here_is(value) for key, value in service["environment"].items() if value is not None}
        command = list(service["command"])
        own = ["--celery-hostname", name, "--skip-serve-logs"]
        if name == "worker":  # a script, whose last line starts it
            command[-1] = f"{command[-1].rstrip()} {' '.join(own)}"
        elif name == "worker-gpu":
            command += own
        home = {"AIRFLOW_HOME": str(self._folder / name), "HOME": str(self._folder)}
        return _process(command, log=self._folder / f"{name}.log", environment=self._here | home | given)

    def _here_is(self, value: str) -> str:
        for there, here in self._places.items():
            value = value.replace(there, here)
        return value


def until(ready: Callable[[], Any], *, seconds: float, what: str, logs: Path) -> Any:
    """Wait until `ready` returns a true value, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := ready():
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what} was not ready after {seconds} s: {_last_lines(logs)}")


def _token(url: str) -> str | None:
    user = {"username": "admin", "password": SECRETS["AIRFLOW_ADMIN_PASSWORD"]}
    try:
        response = requests.post(f"{url}/auth/token", json=user, timeout=ANSWER_SECONDS)
    except requests.ConnectionError:
        return None
    response.raise_for_status()
    return str(response.json()["access_token"])


@contextmanager
def _postgres(port: str) -> Iterator[None]:
    """Run a PostgreSQL server with the database and the role `airflow`; PostgreSQL refuses to run as root."""
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as place:
        password = Path(place, "password")
        password.write_text(SECRETS["POSTGRES_PASSWORD"])
        if user:
            shutil.chown(place, user)
            shutil.chown(password, user)
        initdb = [installed("initdb"), "--pgdata", f"{place}/data", "--username=airflow", "--auth=scram-sha-256"]
        initdb += [f"--pwfile={password}", "--no-sync", "--no-locale", "--encoding=UTF8"]
        subprocess.run(initdb, user=user, cwd=place, check=True, stdout=subprocess.DEVNULL)
        command = [installed("postgres"), "-D", f"{place}/data", "-p", port, "-k", place]
        server = [str(word) for word in [*command, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]]
        with _process(server, log=Path(place, "log"), user=user):
            ask = {"PGPASSWORD": SECRETS["POSTGRES_PASSWORD"], "PATH": os.environ["PATH"]}
            address = ["--host=127.0.0.1", f"--port={port}", "--username=airflow"]
            create = [str(installed("createdb")), *address, "--maintenance-db=postgres", "airflow"]
            until(
                lambda: subprocess.run(create, env=ask, stderr=subprocess.DEVNULL, check=False).returncode == 0,
                seconds=30,
                what="PostgreSQL",
                logs=Path(place),
            )
            yield


@contextmanager
def _process(
    command: list[str], *, log: Path, environment: Mapping[str, str] | None = None, user: str | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process in a process group of its own; the whole group ends with the context."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=environment, user=user, cwd=log.parent, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


def _last_lines(folder: Path) -> str:
    logs = sorted(folder.glob("*.log"))
    return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs)
