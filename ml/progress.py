"""Show the progress of long work: a bar on a terminal, else a line every few seconds. Short work prints no line."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Never

from tqdm import tqdm

LINE_SECONDS = 5.0
COLUMNS, ROWS = 110, 24


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
    """Give a tqdm bar, whose `update` the caller calls. `scaled` prints thousands as k, M, G.

    `total` is None if it is not known. `done` units were finished before; they do not count for the speed.
    """
    terminal = sys.stderr.isatty()
    columns, rows = _size(terminal)
    bar: tqdm[Never] = tqdm(
        desc=what,
        total=total,
        initial=done,
        unit=unit,
        unit_scale=scaled,
        file=sys.stderr if terminal else _Lines(),
        mininterval=0.2 if terminal else LINE_SECONDS,
        maxinterval=LINE_SECONDS,
        delay=0 if terminal else LINE_SECONDS,
        ncols=columns,
        nrows=rows,
        ascii=not terminal,
        position=None if terminal else 0,  # in a log, nested bars must not move the cursor
        leave=None,  # a bar inside another bar disappears at its end
    )
    with bar:
        yield bar
        if not terminal and bar.last_print_n == bar.n:
            bar.leave = False  # the log has its last line already


def _size(terminal: bool) -> tuple[int, int]:
    """Return columns and rows; the defaults replace a 0, which the terminals of `script` report."""
    columns, rows = os.get_terminal_size(sys.stderr.fileno()) if terminal else (0, 0)
    return columns or COLUMNS, rows or ROWS
