"""Locks on files: one process at a time holds the lock of a file, which is open for writing.

The operating system releases the lock when the process ends, also when it is killed. On NFS, Linux asks the server for
the lock, so it works between hosts; for this the file must be open for writing.
"""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import lock_descriptor

from ml.errors import ConfigError

_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}

logger = logging.getLogger(__name__)


@contextmanager
def locked(path: Path, *, waiting: str) -> Iterator[BinaryIO]:
    """Hold the lock of a file, and give the file, open for appending; it is created if it does not exist.

    Logs `waiting` once if another process holds the lock. Raises ConfigError if the file system cannot
    lock, OSError if the file cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        with path.open("ab") as file:
            if not _lock(file, path, blocking=told):
                logger.info(waiting)
                told = _lock(file, path, blocking=True)
            if _is_at(file, path):
                yield file
                return


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold the lock of a file and give True; give False at once if the file is missing, or another process holds it."""
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        yield False
        return
    with file:
        yield _lock(file, path, blocking=False) and _is_at(file, path)


def _lock(file: BinaryIO, path: Path, *, blocking: bool) -> bool:
    try:
        return lock_descriptor(file.fileno(), blocking=blocking)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise ConfigError(
            f"the file system cannot lock files: {error.strerror}",
            where=path.name,
            fix="use a folder on a local disk, or mount the shared file system with locks",
        ) from None


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Say whether `path` still is this file: the process that held the lock before may have renamed or removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
