"""Paths for TensorFlow, which takes some characters in a path for a pattern and then finds no file."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

_PATTERN = frozenset("*?[]\\")


def plain_path(path: Path) -> str:
    """Return a path to a file or folder that TensorFlow does not take for a pattern.

    That is the path itself or, if it has such characters, a link to it that goes with the process.
    """
    if _PATTERN.isdisjoint(str(path)):
        return str(path)
    return str(_link(path.absolute()))


@cache
def _link(path: Path) -> Path:
    link = _links() / str(len(list(_links().iterdir())))
    link.symlink_to(path)
    return link


@cache
def _links() -> Path:
    """Make a folder for the links, below /tmp where the usual place is no plain path either."""
    usual = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="sincere-", dir=usual if _PATTERN.isdisjoint(usual) else "/tmp")  # noqa: S108
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
