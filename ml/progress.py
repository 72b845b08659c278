"""Progress of long work: a bar on a terminal, elsewhere one line every few seconds."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Never

from tqdm import tqdm

LINE_SECONDS = 5.0


class _Lines:
    """A text stream for tqdm that turns its carriage returns into lines, so that logs stay readable."""

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line:
            print(line, file=sys.stderr, flush=True)

    def flush(self) -> None:
        sys.stderr.flush()


@contextmanager
def progress(
    what: str, total: int | None, unit: str, *, scaled: bool = False, done: int = 0
) -> Iterator["tqdm[Never]"]:
    """A tqdm bar to `update`; `scaled` prints thousands as k, M, G. `total` None means that it is not known.

    `done` was done before, and does not count for the speed.
    """
    terminal = sys.stderr.isatty()
    bar: tqdm[Never] = tqdm(
        desc=what,
        total=total,
        initial=done,
        unit=unit,
        unit_scale=scaled,
        file=sys.stderr if terminal else _Lines(),
        mininterval=0.2 if terminal else LINE_SECONDS,
        maxinterval=LINE_SECONDS,
        ncols=None if terminal else 110,
        ascii=not terminal,
        leave=True,
    )
    with bar:
        yield bar
