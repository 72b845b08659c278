"""Fill the disk that holds a folder: python -m tests.containers.full_disk FOLDER [PATTERN].

With a pattern it waits until a path below the folder matches it that did not when it began. It writes `filler`; who
removes this file frees the disk. Runs in a container of the stack.
"""

import errno
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

_CHUNKS = (1 << 20, 1 << 12)


def _wait(folder: Path, pattern: str) -> None:
    before = set(folder.glob(pattern))
    print("waiting", flush=True)
    while not set(folder.glob(pattern)) - before:
        time.sleep(0.01)


def _fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in _CHUNKS:
            with suppress(_Full):
                while True:
                    _write(file.fileno(), b"\0" * size)


class _Full(Exception):
    """There is no more space."""


def _write(descriptor: int, content: bytes) -> None:
    try:
        written = os.write(descriptor, content)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _Full from None
    if written < len(content):
        raise _Full


if __name__ == "__main__":
    place, *patterns = sys.argv[1:]
    for each in patterns:
        _wait(Path(place), each)
    _fill(Path(place))
