"""What the registry says, asked for a page: at once, or a readable refusal with what is known here."""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from ml.errors import LineageError, SincereError
from ml.records import HistoryEntry, from_json
from retraining.pages.champion.place import History, Place, read_history
from retraining.pages.process import answer_of, unavailable

_PATIENCE_SECONDS = 5
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
        if place.registry.startswith("file:") and not place.store:
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
        return _away(place, unavailable(f"no answer came within {_PATIENCE_SECONDS} seconds"))


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
        return Told(history=[from_json(line, HistoryEntry) for line in _asked_process(place)])
    except SincereError as error:
        return _away(place, error)


def _asked_process(place: Place) -> Sequence[str]:
    """Return an entry a line."""
    places = {"SINCERE_HOME": str(place.home), "SINCERE_REGISTRY": place.registry, "SINCERE_STORE": place.store}
    return answer_of(["retraining.pages.champion.ask"], {**os.environ, **places}, _WANDB)
