"""Watch the command lines of processes, which every user of a machine can read."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SECONDS = 0.05


@contextmanager
def watched_command_lines(seen: list[str]) -> Iterator[None]:
    """Add to `seen`, once each, every command line that there is while the context lasts.

    Processes that are there before keep theirs: they are looked at once.
    """
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(seen, over))
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(seen: list[str], over: threading.Event) -> None:
    before = _processes()
    known = {_command_line(process) for process in before}
    while not over.wait(_SECONDS):
        known |= {_command_line(process) for process in _processes() - before}
    seen.extend(sorted(known))


def _processes() -> set[str]:
    return {path.name for path in Path("/proc").glob("[0-9]*")}


def _command_line(process: str) -> str:
    try:
        return Path("/proc", process, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # it has ended
        return ""
