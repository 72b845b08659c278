"""The one way to write a file or a folder: whole or not at all, on disk before it is seen. And the digests of both."""

import errno
import hashlib
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO, cast

from ml.store.locks import locked

_CHUNK_BYTES = 1 << 20
_NO_FOLDER_SYNC = {errno.EINVAL, errno.EBADF}
_DESCRIPTOR = re.compile(r"/dev/std(in|out|err)|/(dev|proc/self)/fd/[0-9]{1,9}")
_STANDARD = {"stdin": "0", "stdout": "1", "stderr": "2"}


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file as `writing_whole` does; text as UTF-8."""
    with writing_whole(path) as file:
        file.buffer.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def writing_whole(path: Path) -> Iterator[TextIO]:
    """A UTF-8 text to write, which takes the file's place at the end; after an error the file is as it was.

    The folder is made, a file's mode is kept, a symbolic link stays and its target is written. What is no regular file
    (a pipe, a device) is written into. Of two that write the same file at once, one waits for the other.
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
    """A text with its line ends as they are; of what names a descriptor of this process, a copy of that descriptor.

    A socket has no other way in, and a file that standard output goes to is neither emptied nor replaced.
    """
    if names_descriptor(path):
        copy = os.dup(int(_STANDARD.get(path.name, path.name)))
        return cast(TextIO, os.fdopen(copy, mode, encoding=encoding, newline=""))
    return cast(TextIO, path.open(mode, encoding=encoding, newline=""))


def names_descriptor(path: Path) -> bool:
    """Whether a path is one of those by which a process calls what it was given open."""
    return bool(_DESCRIPTOR.fullmatch(str(path)))


def rename_whole(folder: Path, place: Path) -> None:
    """Move a folder with all that is in it to a place, as a whole; raises OSError if something is there already."""
    for path in (*folder.rglob("*"), folder):
        sync(path)
    _make_folder(place.parent)
    folder.rename(place)
    sync(place.parent)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on disk; some file systems cannot for folders."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """Sha256, in hex, of a file's bytes."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            sha.update(chunk)
    return sha.hexdigest()


def tree_digest(folder: Path) -> str:
    """Sha256, in hex, over the sorted relative names and digests of all files below a folder."""
    sha = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        sha.update(f"{path.relative_to(folder).as_posix()}\0{file_digest(path)}\n".encode())
    return sha.hexdigest()


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)
