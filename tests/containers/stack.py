"""Drive docker-compose.yaml with Docker Compose, as a person does, on any engine that `docker` reaches.

COMPOSE_FILES names further files, parted by colons: what a machine needs to build or run.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from ml.source.sample import write_sample
from tests.live import free_port
from tests.tiny import BETTER, write_learning_config

PROJECT = Path(__file__).parents[2]
STATE = "/var/lib/sincere"
INPUT = f"{STATE}/input"
DAG = "/api/v2/dags/retrain_quora"
PARTS = ("postgres", "redis", "api-server", "scheduler", "dag-processor", "triggerer", "worker")
PASSWORD = "the-password-of-the-admin"
ROWS = 1500
SOURCES = "http://sources:8000"  # see bad_sources.py

# The same questions by any way count as one source, and a download that does not come on is soon given up.
_ONE_SOURCE = """
[source]
name = "questions"
attempts = 2
timeout_seconds = 10
deadline_seconds = 30
"""


def engine() -> str:
    """Return what keeps a test from a Docker engine with Compose; nothing does if it is empty."""
    try:
        asked = subprocess.run(["docker", "compose", "version"], capture_output=True, text=True, check=False)
        server = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "docker is not installed"
    return asked.stderr.strip() if asked.returncode else server.stderr.strip()


@dataclass(frozen=True)
class Stack:
    """One stack: its Compose command, and the address of its UI."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    url: str
    folder: Path
    tokens: list[str] = field(default_factory=list)

    def compose(self, *arguments: str) -> str:
        """Run one command of Compose, and return what it prints; raises AssertionError with its words if it fails."""
        done = subprocess.run(
            [*self.command, *arguments], cwd=PROJECT, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr[-3000:]}"
        return done.stdout

    def with_file(self, path: Path) -> "Stack":
        """Return the same stack with one more file, which changes what earlier ones say."""
        return self.with_words("--file", str(path))

    def with_words(self, *words: str) -> "Stack":
        """Return the same stack with more words in its command."""
        return Stack((*self.command, *words), self.environment, self.url, self.folder, self.tokens)

    def up(self, *arguments: str) -> None:
        """Start what does not run or has changed, and wait until all parts are healthy."""
        self.compose("up", "--detach", "--wait", "--wait-timeout", "1800", *arguments)

    def remove(self) -> None:
        """Remove all parts, those of profiles too, and their state."""
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans")

    def kill(self, part: str) -> None:
        """Kill a part as a crash does, start it again, and wait until it is healthy."""
        (container,) = self.containers(part)
        self.docker("kill", "--signal", "SIGKILL", container)
        self.docker("start", container)
        self.until(lambda: self.health()[part] == "healthy", seconds=1800, what=part)

    def health(self) -> dict[str, str]:
        """Return the health of each part that runs; of a part in several containers, one that is not healthy."""
        told: dict[str, str] = {}
        for each in map(json.loads, self.compose("ps", "--format", "json").splitlines()):
            if told.get(each["Service"], "healthy") == "healthy":
                told[each["Service"]] = each["Health"]
        return told

    def wait_until_healthy(self) -> None:
        """Wait until all parts run and are healthy."""
        self.until(
            lambda: self.health().items() >= dict.fromkeys(PARTS, "healthy").items(), seconds=1800, what="health"
        )

    def containers(self, part: str) -> list[str]:
        """Return the ids of the part's containers, running or not."""
        return self.compose("ps", "--all", "--quiet", part).split()

    def docker(self, *arguments: str) -> str:
        """Run one command of Docker, and return what it prints."""
        command = ["docker", *arguments]
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout

    def give_input(self, worker: str) -> None:
        """Copy the questions, the encoder and the config into the home of a worker."""
        self.compose("cp", str(self.folder / "input"), f"{worker}:{INPUT}")

    def within(self, part: str, *command: str) -> str:
        """Run a command in the container of a part, and return what it prints."""
        return self.compose("exec", "--no-TTY", part, *command)

    def until(self, ready: Any, *, seconds: float, what: str) -> Any:
        """Wait until `ready` returns a true value, and return it; a server that does not answer is asked again."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(requests.RequestException):
                if found := ready():
                    return found
            time.sleep(2)
        raise AssertionError(f"{what}: not after {seconds} s\n{self.compose('logs', '--tail', '40')}")

    def call(self, method: str, path: str, **body: Any) -> Any:
        """Send one request to the API as the admin, and return the parsed answer."""
        headers = {"Authorization": f"Bearer {self.token()}"}
        answer = requests.request(method, self.url + path, json=body or None, headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def token(self) -> str:
        """Log in, once."""
        if not self.tokens:
            user = {"username": "admin", "password": PASSWORD}
            answer = requests.post(f"{self.url}/auth/token", json=user, timeout=60)
            answer.raise_for_status()
            self.tokens.append(str(answer.json()["access_token"]))
        return self.tokens[0]

    def trigger(self, **conf: Any) -> str:
        """Trigger a run over REST with the source and the config of the input, and return its id."""
        # For a while after a start of the DAG processor, Airflow may take the DAG for one that is gone.
        self.until(lambda: not self.call("PATCH", DAG, is_paused=False)["is_stale"], seconds=1800, what="the DAG")
        told = {"source": f"{INPUT}/questions.csv", "config": f"{INPUT}/tiny.toml", **conf}
        return str(self.call("POST", f"{DAG}/dagRuns", logical_date=None, conf=told)["dag_run_id"])

    def tasks(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Return the task instances of a run by the name of the task."""
        found = self.call("GET", f"{DAG}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}

    def attempt(self, run_id: str, task: str) -> tuple[int, str]:
        """Return which try of a task it is, and its state."""
        told = self.tasks(run_id)[task]
        return int(told["try_number"]), str(told["state"])

    def ended(self, run_id: str) -> dict[str, Any]:
        """Return a run when it has ended."""

        def over() -> dict[str, Any] | None:
            run: dict[str, Any] = self.call("GET", f"{DAG}/dagRuns/{run_id}")
            return run if run["state"] in ("success", "failed") else None

        run: dict[str, Any] = self.until(over, seconds=7200, what=f"the end of {run_id}")
        return run

    def trains(self, run_id: str) -> None:
        """Wait until the training of a run, which has just been triggered, has written its first checkpoint."""
        before = self.checkpoints()
        self.until(
            lambda: self.tasks(run_id)["train"]["state"] == "running" and self.checkpoints() - before,
            seconds=1800,
            what="a checkpoint",
        )

    def has_tried(self, run_id: str, task: str, attempt: int) -> str:
        """Wait until this try of a task has failed and another is to follow, and return what it has logged."""

        def over() -> bool:
            return self.attempt(run_id, task) == (attempt, "up_for_retry")

        self.until(over, seconds=1800, what=f"the end of try {attempt} of {task}")
        return self.log(run_id, task, attempt)

    def try_again_now(self, run_id: str, task: str) -> None:
        """Clear a task that waits for its next try, as a person does who has mended the cause."""
        told = {"dag_run_id": run_id, "task_ids": [task], "dry_run": False, "only_failed": False}
        self.call("POST", f"{DAG}/clearTaskInstances", **told)

    def checkpoints(self) -> set[str]:
        """Return the checkpoints' folders, of all trainings: token ids lie beside them."""
        return set(self.within("worker", "bash", "-c", f"ls -d {STATE}/store/checkpoints/*/[0-9]*/ || true").split())

    def log(self, run_id: str, task: str, attempt: int) -> str:
        """Return what a try of a task has logged."""
        return str(self.call("GET", f"{DAG}/dagRuns/{run_id}/taskInstances/{task}/logs/{attempt}"))

    def history(self) -> list[dict[str, Any]]:
        """Return the entries of the registry's history."""
        lines = self.within("worker", "cat", f"{STATE}/registry/history.jsonl").splitlines()
        return [json.loads(line) for line in lines]


@contextmanager
def running_stack(
    name: str, folder: Path, more: str, built: Sequence[str] = ("api-server", "worker"), **settings: str
) -> Iterator[Stack]:
    """Write the secrets, build the images, start the stack with an input in its state; remove all of it at the end.

    `name` is that of Compose's project, `more` the text of one more file of Compose, `built` which images are built;
    `settings` go into `.env`.
    """
    port = free_port()
    further = [Path(name) for name in os.environ.get("COMPOSE_FILES", "").split(":") if name]
    (folder / "more.yaml").write_text(more, encoding="utf-8")
    files = [PROJECT / "docker-compose.yaml", folder / "more.yaml", *further]
    command = ["docker", "compose", "--project-name", name, "--project-directory", str(PROJECT)]
    command += ["--env-file", str(_secrets(folder, port, settings))]
    command += [word for file in files for word in ("--file", str(file))]
    stack = Stack(tuple(command), _environment(), f"http://127.0.0.1:{port}", folder)
    stack.remove()
    try:
        for part in built:  # one after the other: one may stand on the one before
            stack.compose("build", part)
        stack.up("--no-build")
        _input(folder)
        stack.give_input("worker")
        yield stack
    finally:
        stack.remove()


def race(stack: Stack, *second: str) -> None:
    """Run the DAG and, once its rows are divided, the same by hand in a second worker, named as `exec` takes it.

    Both must come to a verdict, or be told to start a new run.
    """
    by_hand = f"python -m ml run --source {INPUT}/questions.csv --config {INPUT}/tiny.toml --force --run-id by-hand"
    settings = "--set train.learning_rate=0.003 --set train.batch_size=8 --set train.epochs=4"
    command = [*stack.command, "exec", "--no-TTY", *second, *by_hand.split(), *settings.split()]
    run_id = stack.trigger(**BETTER, force=True)
    stack.until(lambda: stack.tasks(run_id)["split"]["state"] == "success", seconds=1800, what="the split")
    other = subprocess.run(command, cwd=PROJECT, env=stack.environment, capture_output=True, text=True, check=False)
    run = stack.ended(run_id)
    told = {"success": "", "failed": str(run["note"])}[run["state"]] + (other.stderr if other.returncode else "")
    assert other.returncode in (0, 65)
    assert not told or "start a new run" in told


def _environment() -> dict[str, str]:
    """Return what `docker` needs of the environment, without what a shell may have set for a stack of its own."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("DOCKER", "BUILD"))}
    return {**kept, "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}


def _secrets(folder: Path, port: int, settings: Mapping[str, str]) -> Path:
    """Write what `make secrets` writes, and add what this stack has of its own."""
    command = [sys.executable, str(PROJECT / "scripts" / "compose_secrets.py")]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    file = folder / ".env"
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if "ADMIN_PASSWORD=" not in line]
    own = [
        f"AIRFLOW_ADMIN_PASSWORD={PASSWORD}",
        f"UI_PORT={port}",
        f"SINCERE_SOURCES={INPUT},{SOURCES},s3://",
        "SINCERE_SCHEDULE=manual",
        *(f"{name}={value}" for name, value in settings.items()),
    ]
    file.write_text("\n".join([*lines, *own, ""]), encoding="utf-8")
    return file


def _input(folder: Path) -> None:
    """Write questions, an encoder that knows their words, and a config that names it by its place in a container."""
    place = folder / "input"
    place.mkdir()
    write_sample(place / "questions.csv", rows=ROWS, seed=1)
    config = write_learning_config(place, place / "questions.csv")
    told = config.read_text(encoding="utf-8").replace(str(place), INPUT)
    told = told.replace(
        "[train]", "[train]\npatience_epochs = 100"
    )  # so that a training is as long as it is told to be
    told = told.replace("[policy]", "[policy]\nconfidence = 0.5")  # of so few rows no gain would be sure
    config.write_text(told + _ONE_SOURCE, encoding="utf-8")
    for path in (place, *place.rglob("*")):
        path.chmod(0o755)  # it is copied with its mode, and the worker is another user
