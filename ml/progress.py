"""Progress of long work: a bar on a terminal, elsewhere one line every few seconds, and none for short work."""

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
    """A tqdm bar to `update`; `scaled` prints thousands as k, M, G. `total` None means that it is not known.

    `done` was done before, and does not count for the speed.
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
        position=None if terminal else 0,  # lines have no place below one another
        leave=None,  # one inside another goes when it is done
    )
    with bar:
        yield bar
        if not terminal and bar.last_print_n == bar.n:
            bar.leave = False  # its last line is in the log


def _size(terminal: bool) -> tuple[int, int]:
    """Columns and rows; some terminals say 0, such as those of `script`."""
    columns, rows = os.get_terminal_size(sys.stderr.fileno()) if terminal else (0, 0)
    return columns or COLUMNS, rows or ROWS
