"""What the registry says, asked for a page: at once, or a readable refusal with what is known here."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import IO, NamedTuple

from ml.config.environment import home_of, registry_of
from ml.errors import ConfigError, LineageError, RegistryUnavailable, SincereError
from ml.records import HistoryEntry, from_json
from ml.registry import CHAMPION_ALIAS
from ml.registry.history import refuse_lost_champion
from ml.registry.open import open_registry
from ml.store import Store
from retraining import PROJECT
from retraining.environment import allowed, from_connections

_PATIENCE_SECONDS = 10
_FRESH_SECONDS = 60
_WANDB = {"wandb_default": {"WANDB_API_KEY": "password"}}

History = Sequence[HistoryEntry]


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


class Place(NamedTuple):
    """Where a DAG of this kind keeps its state, and the address of its registry."""

    home: Path
    registry: str


def place_here() -> Place:
    """Return the places that the API server's environment names."""
    home = home_of(os.environ, PROJECT)
    return Place(home, registry_of(os.environ, home))


def ask_registry(place: Place) -> Answer:
    """Read the registry, and never write to it; a remote one is asked once a minute, and not for long."""
    try:
        if place.registry.startswith("file:"):
            return Told(history=read_history(place))
        return _remote(place)
    except SincereError as error:
        return _away(place, error)


def read_history(place: Place) -> History:
    """Return the history, oldest first; raises SincereError if the registry is away, or has lost its champion."""
    registry = open_registry(place.registry, Store(place.home / "store"))
    history = registry.history()
    refuse_lost_champion(history, registry.resolve(CHAMPION_ALIAS), "the registry")
    return history


def _away(place: Place, error: SincereError) -> Away:
    kept = sorted(_kept(place.home / "reports"), key=lambda entry: entry.time)
    return Away(what=error.what, fix=error.fix, history=kept)


def _kept(reports: Path) -> Iterator[HistoryEntry]:
    for path in reports.glob("*/history/*.json"):
        with suppress(LineageError, OSError, UnicodeDecodeError):
            yield from_json(path.read_text(encoding="utf-8"), HistoryEntry)


_LOCK = Lock()
_ANSWERS: dict[Place, tuple[float, Answer]] = {}


def _remote(place: Place) -> Answer:
    """Ask in a process of its own: W&B's client keeps threads, a service and its first settings."""
    with _LOCK:
        asked, answer = _ANSWERS.get(place, (0.0, None))
        if answer is None or time.monotonic() - asked > _FRESH_SECONDS:
            answer = _asked_now(place)
            _ANSWERS[place] = (time.monotonic(), answer)
        return answer


def _asked_now(place: Place) -> Answer:
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
        return process.wait(timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        raise _unavailable(f"it gave no answer within {_PATIENCE_SECONDS} seconds") from None
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
