"""Turns that all hosts with an object store take: one at a time holds a name.

locks/<name>/<number>    whose turn it is by its number, the highest: a holder's own token and a count that goes up, or
                         nothing where the turn is over

A turn is taken by creating the object of the next number, which an object store lets only one do. A holder rewrites its
own object every few seconds. One that stands still for `STALE_SECONDS`, by the clock of who waits, was left by a
process that died: the next number is free then. So no clocks are compared.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread
from uuid import uuid4

from ml.errors import SincereError
from ml.store.shared.bucket import Bucket

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
LOOK_SECONDS = 0.5
_OVER = b""

logger = logging.getLogger(__name__)


@contextmanager
def turn(bucket: Bucket, name: str, *, waiting: str) -> Iterator[None]:
    """Hold a name; logs `waiting` once if somebody else holds it."""
    waiter = _Waiter(bucket, name)
    if not waiter.take():
        logger.info(waiting)
        while not waiter.take():
            time.sleep(LOOK_SECONDS)
    with _beating(waiter):
        yield


@contextmanager
def try_turn(bucket: Bucket, name: str) -> Iterator[bool]:
    """Hold a name and give True, or give False at once if somebody else may hold it."""
    waiter = _Waiter(bucket, name)
    if not waiter.take():
        yield False
        return
    with _beating(waiter):
        yield True


def sweep(bucket: Bucket, *, before: float) -> None:
    """Remove what turns at folders have left, which are gone by now."""
    over = [each for each in bucket.listing("locks/") if each.bytes == len(_OVER) and each.time < before]
    bucket.remove(each.key for each in over if "-" in each.key)


class _Waiter:
    """One who wants a turn, and then has it."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket, self._folder, self._token = bucket, f"locks/{name}/", uuid4().hex
        self._number = 0
        self._count = 0
        self._seen: tuple[int, bytes, float] = (0, _OVER, time.monotonic())

    def take(self) -> bool:
        """Take the turn if it is free; say whether we have it."""
        numbers = self._numbers()
        last = max(numbers, default=0)
        if numbers and not self._is_free(last):
            return False
        if not self._bucket.create(self._key(last + 1), self._content()):
            return False
        self._number = last + 1
        self._bucket.remove(self._key(number) for number in numbers)
        return True

    def beat(self) -> None:
        """Show that we are alive."""
        self._count += 1
        self._bucket.write(self._key(self._number), self._content())

    def end(self) -> None:
        """Give the turn back."""
        self._bucket.write(self._key(self._number), _OVER)

    def _is_free(self, number: int) -> bool:
        try:
            content = self._bucket.read(self._key(number))
        except FileNotFoundError:  # the next one has removed it
            return False
        if content == _OVER:
            return True
        seen, last, since = self._seen
        if (seen, last) != (number, content):
            self._seen = (number, content, time.monotonic())
            return False
        return time.monotonic() - since > STALE_SECONDS

    def _numbers(self) -> Sequence[int]:
        names = [each.key.removeprefix(self._folder) for each in self._bucket.listing(self._folder)]
        return [int(name) for name in names if name.isdecimal()]

    def _key(self, number: int) -> str:
        return f"{self._folder}{number:08}"

    def _content(self) -> bytes:
        return f"{self._token} {self._count}".encode()


@contextmanager
def _beating(waiter: _Waiter) -> Iterator[None]:
    """Beat while the context lasts. Where the store does not answer meanwhile, the turn may pass on to another."""
    over = Event()
    beats = Thread(target=_beat, args=(waiter, over), daemon=True, name="turn")
    beats.start()
    try:
        yield
    finally:
        over.set()
        beats.join()
        with suppress(SincereError):  # whoever waits sees that it stands still
            waiter.end()


def _beat(waiter: _Waiter, over: Event) -> None:
    while not over.wait(BEAT_SECONDS):
        with suppress(SincereError):
            waiter.beat()
