"""What the registry says, asked for a page: at once, or a readable refusal with what is known here."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import IO

from ml.errors import ConfigError, LineageError, RegistryUnavailable, SincereError
from ml.records import HistoryEntry, from_json
from retraining import PROJECT
from retraining.pages.champion.place import History, Place, read_history
from retraining.step.environment import allowed, from_connections

_PATIENCE_SECONDS = 5
_LONGEST_SECONDS = 60
_FRESH_SECONDS = 60
_WANDB = {"wandb_default": {"WANDB_API_KEY": "password"}}


@dataclass(frozen=True, kw_only=True)
class Told:
    """The registry answered; `history` has the entries oldest first."""

    history: History


@dataclass(frozen=True, kw_only=True)
class Away:
    """The registry gave no answer, and why; `history` has what runs have kept beside their reports, oldest first."""

    what: str
    fix: str
    history: History


Answer = Told | Away


def ask_registry(place: Place) -> Answer:
    """Read the registry, and never write to it; a remote one is asked once a minute, and not for long."""
    try:
        if place.registry.startswith("file:"):
            return Told(history=read_history(place))
        return _remote(place)
    except SincereError as error:
        return _away(place, error)


def _away(place: Place, error: SincereError) -> Away:
    kept = sorted(_kept(place.home / "reports"), key=lambda entry: entry.time)
    return Away(what=error.what, fix=error.fix, history=kept)


def _kept(reports: Path) -> Iterator[HistoryEntry]:
    for path in reports.glob("*/history/*.json"):
        with suppress(LineageError, OSError, UnicodeDecodeError):
            yield from_json(path.read_text(encoding="utf-8"), HistoryEntry)


_LOCK = Lock()
_ASKING = ThreadPoolExecutor(max_workers=4, thread_name_prefix="registry")
_QUESTIONS: dict[Place, tuple[float, Future[Answer]]] = {}


def _remote(place: Place) -> Answer:
    """Wait a few seconds for the answer of this minute; the question goes on, for those who look later."""
    try:
        return _question(place).result(timeout=_PATIENCE_SECONDS)
    except TimeoutError:
        return _away(place, _unavailable(f"no answer came within {_PATIENCE_SECONDS} seconds"))


def _question(place: Place) -> Future[Answer]:
    with _LOCK:
        for asked, question in [_QUESTIONS[place]] if place in _QUESTIONS else []:
            if not question.done() or time.monotonic() - asked < _FRESH_SECONDS:
                return question
        question = _ASKING.submit(_asked_now, place)
        _QUESTIONS[place] = (time.monotonic(), question)
        return question


def _asked_now(place: Place) -> Answer:
    """Ask in a process of its own: W&B's client keeps threads, a service and its first settings."""
    try:
        return Told(history=[from_json(line, HistoryEntry) for line in _answer_of_process(place)])
    except SincereError as error:
        return _away(place, error)


def _answer_of_process(place: Place) -> Sequence[str]:
    """Return an entry a line; raises SincereError as the process reports it, or RegistryUnavailable after a while."""
    environment = allowed(os.environ) | from_connections(_WANDB)
    environment |= {"PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}", "SINCERE_HOME": str(place.home)}
    environment["SINCERE_REGISTRY"] = place.registry
    with TemporaryFile("w+", encoding="utf-8") as output:
        status = _run([sys.executable, "-m", "retraining.pages.champion.ask"], environment, output)
        output.seek(0)
        lines = output.read().splitlines()
    if status == 0:
        return lines
    raise _reported(lines)


def _run(command: Sequence[str], environment: Mapping[str, str], output: IO[str]) -> int:
    """Run a process in a session of its own, and end all that it started."""
    process = subprocess.Popen(  # noqa: S603, our own command, without a shell
        command, cwd=PROJECT, env=environment, stdout=output, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return process.wait(timeout=_LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        raise _unavailable(f"no answer came within {_LONGEST_SECONDS} seconds") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _reported(lines: Sequence[str]) -> SincereError:
    with suppress(ValueError, IndexError, TypeError):
        what, fix = json.loads(lines[-1])
        return ConfigError(what, where="the registry", fix=fix)
    return _unavailable("the process that asked it ended without an answer")


def _unavailable(what: str) -> RegistryUnavailable:
    return RegistryUnavailable(what, where="the registry", fix="see that it can be reached from here, then reload")
