"""SIGTERM while a training makes its steps: it is noted, and obeyed where a checkpoint can be written first."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def obeying_sigterm(save: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """Note SIGTERM in this context, and yield the function that obeys one that came: it saves, then ends the process.

    The process ends as it would have ended without this context: by the signal, or by the handler of whoever set one.
    """
    came: list[int] = []
    before: Any = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))

    def obey() -> None:
        if came:
            save()
            _end(before)
            came.clear()

    try:
        yield obey
    finally:
        signal.signal(signal.SIGTERM, before)
        if came:
            _end(before)


def _end(handler: Any) -> None:
    signal.signal(signal.SIGTERM, handler)
    signal.raise_signal(signal.SIGTERM)
