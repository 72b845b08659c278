"""Download exactly the file that a server promised, in chunks, with a size limit and a deadline.

A broken download is retried with back-off, and resumed where that gives the same file.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import TypeVar

from ml.config import SourceConfig
from ml.errors import DataError, SourceUnavailable
from ml.progress import progress

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 18
FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_DOWNLOAD_BY_HAND = "try again later, or download the file by hand and give its path"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What a server tells about the whole file; `version` is "" and `total_bytes` is None if it does not tell them.

    `digests` are pairs of an algorithm, by hashlib's name, and the digest that the file must have.
    """

    version: str = ""
    total_bytes: int | None = None
    digests: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Body:
    """What a server sends from byte `start` on; `promise` tells about the whole file."""

    start: int
    promise: Promise
    chunks: Iterator[bytes]


# Opens a file at a byte, if the file is still the promised one; otherwise the body starts at byte 0, or OtherFile is
# raised.
OpenFrom = Callable[[int, Promise], AbstractContextManager[Body]]


class BrokenOff(Exception):
    """The transfer failed, but another attempt may succeed; the text of this error contains no address."""


class OtherFile(BrokenOff):
    """The server sent something else than the file of the earlier attempts; the next attempt starts at byte 0."""


class NotInTime(Exception):
    """There was no answer within the time given."""


def download(open_from: OpenFrom, target: Path, config: SourceConfig, *, source: str) -> None:
    """Download to `target` exactly the bytes that the server promised.

    Raises SourceUnavailable if all attempts broke off or the deadline passed, DataError above the size limit.
    """
    late = Event()
    try:
        within(config.deadline_seconds, lambda: _download(open_from, target, config, source, late))
    except NotInTime:
        late.set()
        raise SourceUnavailable(
            f"the source did not give the whole file in {config.deadline_seconds:g} seconds",
            where=source,
            fix=f"raise source.deadline_seconds, {_DOWNLOAD_BY_HAND}",
        ) from None


def within(seconds: float, ask: Callable[[], T]) -> T:
    """Call `ask` in a thread and return its answer; raises NotInTime if it takes too long, whatever it waits for."""
    answer: Future[T] = Future()
    thread = Thread(target=_settle, args=(answer, ask), daemon=True)
    thread.start()
    thread.join(seconds)
    if not answer.done():
        raise NotInTime
    return answer.result()


def _settle(answer: "Future[T]", ask: Callable[[], T]) -> None:
    try:
        answer.set_result(ask())
    except BaseException as error:
        answer.set_exception(error)


def _download(open_from: OpenFrom, target: Path, config: SourceConfig, source: str, late: Event) -> None:
    target.touch()
    promise = Promise()
    for attempt in range(1, config.attempts + 1):
        start = target.stat().st_size if promise.version else 0
        try:
            with open_from(start, promise) as body:
                promise = body.promise
                _receive(body, target, config.max_bytes, source, late)
            _check_promise(target, promise)
            return
        except BrokenOff as error:
            logger.warning("attempt %d of %d at %s: %s", attempt, config.attempts, source, error)
            reason = str(error)
            promise = Promise() if isinstance(error, OtherFile) else promise
        if attempt < config.attempts:
            late.wait(min(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1), _LONGEST_PAUSE_SECONDS))
    raise SourceUnavailable(
        f"the source did not give the whole file in {config.attempts} attempts; at last: {reason}",
        where=source,
        fix=_DOWNLOAD_BY_HAND,
    )


def check_size(received: int, limit: int, source: str) -> None:
    """Raise DataError if more bytes were received than `source.max_bytes` allows."""
    if received > limit:
        raise DataError(
            f"the file is larger than {limit} bytes",
            where=source,
            fix="check that this is the right file; if so, raise source.max_bytes",
        )


def _receive(body: Body, target: Path, limit: int, source: str, late: Event) -> None:
    total = body.promise.total_bytes
    check_size(total or 0, limit, source)
    received = body.start
    with target.open("r+b") as file, progress("download", total, "B", scaled=True) as bar:
        file.truncate(body.start)
        file.seek(body.start)
        bar.update(body.start)
        for chunk in body.chunks:
            if late.is_set():
                raise NotInTime
            received += len(chunk)
            check_size(received, limit, source)
            file.write(chunk)
            bar.update(len(chunk))
    if total is not None and received < total:
        raise BrokenOff(f"the connection ended at byte {received} of {total}")


def _check_promise(target: Path, promise: Promise) -> None:
    size = target.stat().st_size
    if promise.total_bytes not in (None, size):
        raise OtherFile(f"{size} bytes came instead of {promise.total_bytes}")
    for algorithm, digest in promise.digests:
        with target.open("rb") as file:
            came = hashlib.file_digest(file, partial(hashlib.new, algorithm, usedforsecurity=False)).digest()
        if came != digest:
            raise OtherFile(f"the bytes that came have another {algorithm} than the server says")
