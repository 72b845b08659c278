"""The content-addressed store, `store/<kind>/<digest>/`. A folder in it is complete, and never changes."""

import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple
from uuid import uuid4

from ml.errors import LineageError
from ml.store.files import rename_whole
from ml.store.locks import locked, try_lock

Kind = Literal[
    "snapshots",
    "splits",
    "checkpoints",
    "models",
    "trainings",
    "comparisons",
    "decisions",
    "answers",
    "moves",
    "pending",
    "scores",
    "underway",
    "unsent",
    "erasures",
    "meetings",
]

_LOCK = "lock"
_USE = "use"
_SECONDS_PER_DAY = 86_400


class Measured(NamedTuple):
    """The bytes of a stored folder, and when it was used last, in seconds since 1970."""

    bytes: int
    used: float


class Store:
    """Folders of files by kind and digest, under one root on one file system.

    `is_shared` says whether other homes have them, too.
    """

    is_shared = False

    def __init__(self, root: Path) -> None:
        self._root = root

    def contains(self, kind: Kind, digest: str) -> bool:
        """Say whether this folder is stored."""
        return self._find(kind, digest).is_dir()

    def use(self, kind: Kind, digest: str) -> bool:
        """Say whether this folder is stored; if so, it counts as used now, and `drop_unused` leaves it."""
        with self._in_use():
            place = self._find(kind, digest)
            if place.is_dir():
                os.utime(place)
            return place.is_dir()

    def open(self, kind: Kind, digest: str) -> Path:
        """Return a stored folder; raises LineageError if it is not in the store."""
        place = self._find(kind, digest)
        if not place.is_dir():
            raise LineageError(
                f"{kind} {digest[:12]} is not in the store",
                where=f"store/{kind}",
                fix="run the step that makes it again, or point SINCERE_HOME at the home that holds it",
            )
        return place

    def names(self, kind: Kind) -> Sequence[str]:
        """The digests or names of all that is stored of a kind, oldest first; a file that lies there is none."""
        times = [(time, path.name) for path in (self._root / kind).glob("*") for time in _folder_time(path)]
        return list(dict.fromkeys(name.removeprefix(".") for _, name in sorted(times)))

    def members(self, kind: Kind, name: str) -> Sequence[str]:
        """The names of the folders that are stored below a folder, which need not be there."""
        place = self._find(kind, name)
        return [path.name for path in place.iterdir() if path.is_dir()] if place.is_dir() else []

    def place(self, kind: Kind, name: str) -> Path:
        """Return where a folder lies, or would lie, on this machine."""
        return self._find(kind, name)

    def measured(self, kind: Kind, name: str) -> Measured:
        """Return how large a folder is, and when it was used last; raises FileNotFoundError if it is not stored."""
        place = self._find(kind, name)
        return Measured(folder_bytes(place), place.lstat().st_mtime)

    def lock_of(self, kind: Kind, name: str, *, waiting: str) -> AbstractContextManager[BinaryIO]:
        """Hold the lock of a stored or future folder; `drop` removes the lock with the folder."""
        return locked(self._root / kind / name / _LOCK, waiting=waiting)

    def drop_old(self, kind: Kind, *, days: float) -> None:
        """Remove each folder that nobody has added to for so many days, unless a process holds its lock."""
        oldest = time.time() - days * _SECONDS_PER_DAY
        for name in self.names(kind):
            place = self._find(kind, name)
            with suppress(FileNotFoundError):  # another process was quicker
                if place.stat().st_mtime < oldest:
                    self._drop_unheld(kind, name, place / _LOCK)

    def drop_unused(self, kind: Kind, name: str, *, since: float) -> bool:
        """Remove a folder unless it was used since a time, or a process holds its lock; say whether it is gone."""
        with self._in_use():
            place = self._find(kind, name)
            with suppress(FileNotFoundError):  # another process was quicker
                if place.lstat().st_mtime > since:
                    return False
                lock = place / _LOCK
                if lock.exists():
                    self._drop_unheld(kind, name, lock)
                else:
                    self.drop(kind, name)
        return not place.exists()

    def relative(self, path: Path) -> str:
        """Return the path of a stored file relative to the store's root."""
        return path.relative_to(self._root).as_posix()

    def lock(self, name: str, *, waiting: str) -> AbstractContextManager[BinaryIO]:
        """Hold a lock that all processes with this store share; a process that must wait logs `waiting`."""
        return locked(self._root / f"{name}.lock", waiting=waiting)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Give an empty folder on the store's file system; it is removed at the end unless `commit` has moved it."""
        folder = self._root / "staging" / uuid4().hex
        _sweep(folder.parent)
        lock = folder.with_suffix(".lock")
        with locked(lock, waiting="waiting for another process that clears the store's staging"):
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                lock.unlink()  # while we hold it, so that no other process removes it

    def commit(self, staged: Path, kind: Kind, digest: str) -> Path:
        """Move a staged folder to its place by an atomic rename; content that is stored already stays as it is."""
        return self._place_whole(staged, kind, digest)

    def put(self, kind: Kind, name: str, texts: Mapping[str, str]) -> None:
        """Store texts as files under a name instead of a digest, and replace what is stored under this name."""
        with self.replacing(kind, name) as folder:
            for file, text in texts.items():
                (folder / file).write_text(text, encoding="utf-8")

    @contextmanager
    def replacing(self, kind: Kind, name: str) -> Iterator[Path]:
        """Give an empty folder, which at the end replaces what is stored under this name.

        Until the new folder is in place, the old one is kept as `.<name>`: so one is found even if the process dies.
        """
        place = self._root / kind / name
        with self.lock("put", waiting="waiting for another process that stores under a name"):
            with self.staging() as folder:
                yield folder
                if place.is_dir():
                    self._remove(_replaced(place))
                    with suppress(FileNotFoundError):  # another process has dropped it
                        place.rename(_replaced(place))
                self._place_whole(folder, kind, name)
            self._remove(_replaced(place))

    def finish_replacing(self, kind: Kind) -> None:
        """Remove what processes that died have left of replaced folders, and put back what they did not replace."""
        with self.lock("put", waiting="waiting for another process that stores under a name"):
            for old in (self._root / kind).glob(".*"):
                place = old.with_name(old.name.removeprefix("."))
                if place.is_dir():
                    self._remove(old)
                else:
                    old.rename(place)

    @contextmanager
    def rewriting(self, kind: Kind, name: str) -> Iterator[tuple[Path, Path]]:
        """Give a stored folder and an empty one, which at the end replaces it, as old as it, if it has any file."""
        with self.staging() as new:
            old = self.open(kind, name)
            yield old, new
            if any(new.iterdir()):
                with self.replacing(kind, name) as folder:
                    for path in new.iterdir():
                        path.rename(folder / path.name)
                    shutil.copystat(old, folder)

    def drop(self, kind: Kind, digest: str) -> None:
        """Remove a stored folder, if it is there, by an atomic rename: no process sees a part of it."""
        place = self._root / kind / digest
        self._remove(_replaced(place), place)

    def tidy(self, kinds: Iterable[Kind]) -> None:
        """Remove of these kinds what other hosts have dropped: here, there are none."""

    def _place_whole(self, staged: Path, kind: Kind, digest: str) -> Path:
        place = self._root / kind / digest
        try:
            rename_whole(staged, place)
        except OSError:
            if not Store.use(self, kind, digest):
                raise
        return place

    def _drop_unheld(self, kind: Kind, name: str, lock: Path) -> None:
        lock.touch()
        with try_lock(lock) as free:
            if free:
                self.drop(kind, name)

    def _in_use(self) -> AbstractContextManager[BinaryIO]:
        """Hold the lock between who begins to use a folder and who removes it."""
        return self.lock(_USE, waiting="waiting for another process that removes what is unused")

    def _find(self, kind: Kind, digest: str) -> Path:
        place = self._root / kind / digest
        return place if place.is_dir() else _replaced(place)

    def _remove(self, *folders: Path) -> None:
        with self.staging() as staged:
            for folder in folders:
                with suppress(FileNotFoundError):
                    folder.rename(staged / folder.name)


def folder_bytes(folder: Path) -> int:
    """Return the bytes that go with a folder: a file that has another name elsewhere stays there."""
    files = [path.lstat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(status.st_size for status in files if status.st_nlink == 1)


def _folder_time(path: Path) -> Iterator[int]:
    """When a folder was changed last, in ns; nothing for a file, or if another process has just removed it."""
    with suppress(FileNotFoundError):
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            yield status.st_mtime_ns


def _replaced(place: Path) -> Path:
    return place.with_name(f".{place.name}")


def _sweep(staging: Path) -> None:
    """Remove the folders that killed processes left: those whose lock no process holds."""
    for lock in staging.glob("*.lock"):
        with try_lock(lock) as free:
            if free:
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink()
