"""Write files and folders atomically: whole or not at all, on disk before they are visible. Compute their digests."""

import errno
import hashlib
import io
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO, cast
from uuid import uuid4

from ml.store.locks import locked

_CHUNK_BYTES = 1 << 20
_NO_FOLDER_SYNC = {errno.EINVAL, errno.EBADF}
_DESCRIPTOR = re.compile(r"/dev/std(in|out|err)|/(dev|proc/self)/fd/[0-9]{1,9}")
_STANDARD = {"stdin": "0", "stdout": "1", "stderr": "2"}


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file as `writing_whole` does; a text is encoded as UTF-8."""
    with writing_whole(path) as file:
        file.buffer.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def writing_whole(path: Path) -> Iterator[TextIO]:
    """Give a UTF-8 text file to write to, which replaces `path` at the end; after an error `path` is unchanged.

    Missing folders are made. The mode of an existing file is kept. If `path` is a symbolic link, its target is
    replaced. If `path` is not a regular file (a pipe, a device), the text is written directly into it. If two processes
    write the same file at once, one waits for the other.
    """
    target = path.resolve()
    if names_descriptor(path) or (path.exists() and not target.is_file()):
        with open_text(path, "w") as file:
            yield file
        return
    _make_folder(target.parent)
    beside = target.with_name(f"{target.name}.part")
    with locked(beside, waiting=f"waiting for another process that writes {path.name}") as raw:
        try:
            raw.truncate(0)
            if target.exists():
                os.fchmod(raw.fileno(), stat.S_IMODE(target.stat().st_mode))
            text = io.TextIOWrapper(raw, encoding="utf-8", newline="")
            yield text
            text.flush()
            os.fsync(raw.fileno())
            beside.replace(target)
        except BaseException:
            beside.unlink()
            raise
    sync(target.parent)


def open_text(path: Path, mode: Literal["r", "w"], *, encoding: str = "utf-8") -> TextIO:
    """Open a text without changing its line ends; a path that names a descriptor of this process opens a copy of it.

    So sockets can be opened, and a file that standard output is redirected to is neither truncated nor replaced.
    """
    if names_descriptor(path):
        copy = os.dup(int(_STANDARD.get(path.name, path.name)))
        return cast(TextIO, os.fdopen(copy, mode, encoding=encoding, newline=""))
    return cast(TextIO, path.open(mode, encoding=encoding, newline=""))


def names_descriptor(path: Path) -> bool:
    """Tell whether a path such as /dev/stdin names an open descriptor of this process."""
    return bool(_DESCRIPTOR.fullmatch(str(path)))


def rename_whole(folder: Path, place: Path) -> None:
    """Move a folder to `place` by an atomic rename, synced to disk; raises OSError if `place` has content."""
    for path in (*folder.rglob("*"), folder):
        sync(path)
    _make_folder(place.parent)
    folder.rename(place)
    sync(place.parent)


def remove_whole(folder: Path, waste: Path) -> None:
    """Move a folder into `waste` by an atomic rename, and remove it there: no process sees a part of it.

    What a process that died has left in `waste` goes when `waste` itself is given.
    """
    if folder != waste:
        waste.mkdir(exist_ok=True)
        folder.rename(waste / uuid4().hex)
    shutil.rmtree(waste)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on disk.

    Some file systems cannot do this for folders; that is no error.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """Return the sha256, in hex, of a file's bytes."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            sha.update(chunk)
    return sha.hexdigest()


def tree_digest(folder: Path) -> str:
    """Return the sha256, in hex, of the sorted relative names and digests of all files below a folder."""
    sha = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        sha.update(f"{path.relative_to(folder).as_posix()}\0{file_digest(path)}\n".encode())
    return sha.hexdigest()


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)
