"""Watch the command lines of processes, which every user of a machine can read."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SECONDS = 0.05


@contextmanager
def watched_command_lines(seen: list[str]) -> Iterator[None]:
    """Add to `seen`, once each, every command line that there is while the context lasts."""
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(seen, over))
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(seen: list[str], over: threading.Event) -> None:
    known: set[str] = set()
    while not over.wait(_SECONDS):
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                known.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    seen.extend(sorted(known))
