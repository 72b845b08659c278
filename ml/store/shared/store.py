"""The store of several hosts: an object store has the state, and the home is the place to work and the cache.

The object store counts. What a host has committed is sent there, and a folder that is not on disk is fetched from
there, verified. A host remembers in `sent/` what it knows to be there: a folder that is there no more, or is another
one since rows were erased from it, is removed from the home or fetched anew. A folder of a home that never was there
is sent when it is used.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from ml.errors import LineageError, StoreRefused, StoreUnavailable
from ml.records import StoredFolder, from_json, to_json
from ml.store import Kind, Measured, Store
from ml.store.files import write_whole
from ml.store.locks import locked
from ml.store.shared.bucket import Bucket
from ml.store.shared.folders import Files, Folders, damaged, described
from ml.store.shared.lease import sweep, try_turn, turn

# What only spares this host's own retry its work.
OWN: frozenset[Kind] = frozenset({"scores", "unsent"})
# What is replaced or dropped while a run goes on: it is looked up each time.
_NAMED: frozenset[Kind] = frozenset({"pending", "moves", "underway", "answers"})
# A training goes on without them.
_SPARED: frozenset[Kind] = frozenset({"checkpoints"})
# Locks about what this host alone has.
_LOCAL_LOCKS = {"use", "put"}
AWAY_SECONDS = 600.0
_SENT, _FETCHED = "sent", "fetched"
_SECONDS_PER_DAY = 86_400

logger = logging.getLogger(__name__)

T = TypeVar("T")


class SharedStore(Store):
    """A store whose folders are in an object store, too."""

    is_shared = True

    def __init__(self, root: Path, bucket: Bucket) -> None:
        super().__init__(root)
        self.bucket = bucket
        self.folders = Folders(bucket)
        self._settled: set[tuple[Kind, str]] = set()
        self._away_until = 0.0

    def contains(self, kind: Kind, digest: str) -> bool:
        """Say whether this folder is stored."""
        if kind in OWN or (kind, digest) in self._settled:
            return super().contains(kind, digest)
        return bool(self.folders.files(kind, digest)) or self._is_unsent(kind, digest)

    def use(self, kind: Kind, digest: str) -> bool:
        """Say whether this folder is stored; if so, it counts as used now: first told, then looked up."""
        if kind in OWN:
            return super().use(kind, digest)
        if not self.contains(kind, digest):
            return False
        self.folders.touch(kind, digest)
        self._settled.discard((kind, digest))
        self._settle(kind, digest)
        return super().use(kind, digest)

    def open(self, kind: Kind, digest: str) -> Path:
        """Return a stored folder, fetched if it is not on disk; raises LineageError if it is not stored."""
        if kind not in OWN:
            self._sparing(kind, lambda: self._settle(kind, digest), otherwise=None)
        return super().open(kind, digest)

    def open_anew(self, kind: Kind, digest: str) -> Path:
        """Return a stored folder, fetched again: what lies on disk was changed there."""
        self._forget(kind, digest)
        return self.open(kind, digest)

    def names(self, kind: Kind) -> Sequence[str]:
        """The digests or names of all that is stored of a kind, oldest first."""
        if kind in OWN:
            return super().names(kind)
        times = self._times(kind)
        unsent = [name for name in super().names(kind) if name not in times and self._is_unsent(kind, name)]
        return [*times, *unsent]

    def members(self, kind: Kind, name: str) -> Sequence[str]:
        """The names of the folders that are stored below a folder, which need not be there."""
        here = super().members(kind, name)
        return self._sparing(kind, lambda: self._members(kind, name, here), otherwise=here)

    def measured(self, kind: Kind, name: str) -> Measured:
        """Return how large a folder is, and when it was used last."""
        times = {} if kind in OWN else self._times(kind)
        if name not in times:
            return super().measured(kind, name)
        return Measured(self.folders.bytes(kind, name), times[name])

    def lock(self, name: str, *, waiting: str) -> AbstractContextManager[BinaryIO]:
        """Hold a lock that all processes with this store share, on whatever host."""
        lock = super().lock(name, waiting=waiting)
        return lock if name in _LOCAL_LOCKS else self._with_turn(lock, name, waiting)

    def lock_of(self, kind: Kind, name: str, *, waiting: str) -> AbstractContextManager[BinaryIO]:
        """Hold the lock of a stored or future folder, on whatever host."""
        return self._with_turn(super().lock_of(kind, name, waiting=waiting), f"{kind}-{name}", waiting)

    def commit(self, staged: Path, kind: Kind, digest: str) -> Path:
        """Move a staged folder to its place and store it; one that is stored already stays, and takes its place."""
        place = super().commit(staged, kind, digest)
        if kind not in OWN:
            self._settled.discard((kind, digest))
            self._sparing(kind, lambda: self._settle(kind, digest), otherwise=None)
        return place

    @contextmanager
    def replacing(self, kind: Kind, name: str) -> Iterator[Path]:
        """Give an empty folder, which at the end replaces what is stored under this name.

        If the process dies in between, the object store's folder counts, as it was before.
        """
        with super().replacing(kind, name) as folder:
            yield folder
            self._record(kind, name).unlink(missing_ok=True)
            self._settled.discard((kind, name))
        if kind not in OWN:
            files = described(super().open(kind, name))
            self.folders.replace(kind, name, super().open(kind, name), files)
            self._remember(kind, name, files)

    def finish_replacing(self, kind: Kind) -> None:
        """Remove what processes that died have left of replaced folders; nobody else replaces any meanwhile."""
        super().finish_replacing(kind)
        self.folders.sweep(kind, before=time.time())

    def drop(self, kind: Kind, digest: str) -> None:
        """Remove a stored folder, if it is there, for all hosts."""
        if kind not in OWN:
            self._sparing(kind, lambda: self.folders.drop(kind, digest), otherwise=None)
        self._forget(kind, digest)

    def drop_old(self, kind: Kind, *, days: float) -> None:
        """Remove each folder that nobody has added to for so many days, unless a process holds its lock."""
        if kind in OWN:
            super().drop_old(kind, days=days)
        else:
            oldest = time.time() - days * _SECONDS_PER_DAY
            self._sparing(kind, lambda: self._drop_old(kind, oldest), otherwise=None)

    def drop_unused(self, kind: Kind, name: str, *, since: float) -> bool:
        """Remove a folder unless it was used since a time, or a process holds its lock; say whether it is gone.

        It is hidden first and looked at again: whoever has told to use it, and found it, keeps it.
        """
        if kind in OWN:
            return super().drop_unused(kind, name, since=since)
        with self._free_turn(kind, name) as free:
            found = self.folders.files(kind, name)
            if not free or self._used(kind, name) > since:
                return False
            self.folders.hide(kind, name)
            if found and self.folders.used(kind, name) > since:
                self.folders.show(kind, name, found[0])
                return False
            self.drop(kind, name)
        return True

    def tidy(self, kinds: Iterable[Kind]) -> None:
        """Remove from this home what other hosts have dropped, and what processes that died left a day ago."""
        yesterday = time.time() - _SECONDS_PER_DAY
        sweep(self.bucket, before=yesterday)
        for kind in kinds:
            self.folders.sweep(kind, before=yesterday)
            times = self._times(kind)
            for name in super().names(kind):
                if name not in times and not self._is_unsent(kind, name):
                    self._forget(kind, name)

    def _members(self, kind: Kind, name: str, here: Sequence[str]) -> Sequence[str]:
        there = [each.partition("/") for each in self.folders.times(kind)]
        unsent = [each for each in here if self._is_unsent(kind, f"{name}/{each}")]
        return list(dict.fromkeys([*(below for above, _, below in there if above == name and below), *unsent]))

    def _settle(self, kind: Kind, name: str) -> None:
        """Bring the home in line with the object store."""
        if (kind, name) in self._settled:
            return
        there = self.folders.files(kind, name)
        for files in there:
            self._take(kind, name, files)
        if not there and self._is_unsent(kind, name):
            self._send(kind, name)
        elif not there:
            self._forget(kind, name)
        if kind not in _NAMED and super().contains(kind, name):
            self._settled.add((kind, name))

    def _take(self, kind: Kind, name: str, files: Files) -> None:
        """Have what the object store has; a part that has gone meanwhile belonged to files that were replaced."""
        if self._has(kind, name, files):
            return
        try:
            self._fetch(kind, name, files)
        except FileNotFoundError:
            for replaced in self.folders.files(kind, name):
                if replaced == files:
                    raise damaged(kind, name) from None
                self._fetch(kind, name, replaced)

    def _has(self, kind: Kind, name: str, files: Files) -> bool:
        if not super().contains(kind, name):
            return False
        if self._is_unsent(kind, name) and described(super().open(kind, name)) == files:
            self._remember(kind, name, files)
        return files in self._remembered(kind, name)

    def _send(self, kind: Kind, name: str) -> None:
        place = super().open(kind, name)
        files = described(place)
        self.folders.add(kind, name, place, files)
        for stored in self.folders.files(kind, name):
            if stored == files:
                self._remember(kind, name, files)
            else:  # another host was quicker
                self._fetch(kind, name, stored)

    def _fetch(self, kind: Kind, name: str, files: Files) -> None:
        folder = self._root / _FETCHED / kind / name
        lock = folder.with_name(f"{folder.name}.lock")
        with locked(lock, waiting="waiting for another process that fetches the same"):
            if not (super().contains(kind, name) and files in self._remembered(kind, name)):
                self.folders.fetch(kind, name, files, folder)
                super().drop(kind, name)
                self._place_whole(folder, kind, name)
                self._remember(kind, name, files)
                if kind in _NAMED:
                    self._date(kind, name)
            lock.unlink()  # while we hold it

    def _date(self, kind: Kind, name: str) -> None:
        """Let what is found by its age be as old as it is in the object store."""
        then, place = self._used(kind, name), super().open(kind, name)
        for path in (*place.iterdir(), place):
            os.utime(path, (then, then))

    def _forget(self, kind: Kind, name: str) -> None:
        super().drop(kind, name)
        self._settled.discard((kind, name))
        record = self._record(kind, name)
        record.unlink(missing_ok=True)
        shutil.rmtree(record.with_suffix(""), ignore_errors=True)

    def _is_unsent(self, kind: Kind, name: str) -> bool:
        """Whether this home has it, or something below it, and never knew that to be in the object store."""
        record = self._record(kind, name)
        if not super().contains(kind, name) or record.exists():
            return False
        below = record.with_suffix("")
        members = super().members(kind, name)
        return not below.exists() or any(not (below / f"{member}.json").exists() for member in members)

    def _remembered(self, kind: Kind, name: str) -> Sequence[Files]:
        with suppress(FileNotFoundError, LineageError, UnicodeDecodeError):
            return [from_json(self._record(kind, name).read_text(encoding="utf-8"), StoredFolder).files]
        return []

    def _remember(self, kind: Kind, name: str, files: Files) -> None:
        write_whole(self._record(kind, name), to_json(StoredFolder(files=dict(files))))

    def _record(self, kind: Kind, name: str) -> Path:
        return self._root / _SENT / kind / f"{name}.json"

    def _times(self, kind: Kind) -> Mapping[str, float]:
        """When each folder was used last; one that has others below it when the last of those was."""
        times: dict[str, float] = {}
        for name, used in self.folders.times(kind).items():
            above = name.partition("/")[0]
            times.pop(above, None)
            times[above] = used
        return times

    def _used(self, kind: Kind, name: str) -> float:
        return self._times(kind).get(name, 0.0)

    def _drop_old(self, kind: Kind, oldest: float) -> None:
        for name, used in self._times(kind).items():
            if used < oldest:
                with self._free_turn(kind, name) as free:
                    if free:
                        self.drop(kind, name)

    def _free_turn(self, kind: Kind, name: str) -> AbstractContextManager[bool]:
        """Hold the lock that `lock_of` holds, of a kind that is locked."""
        return try_turn(self.bucket, f"{kind}-{name}") if kind in _SPARED else nullcontext(True)

    @contextmanager
    def _with_turn(self, lock: AbstractContextManager[BinaryIO], name: str, waiting: str) -> Iterator[BinaryIO]:
        with lock as file, turn(self.bucket, name, waiting=waiting):
            yield file

    def _sparing(self, kind: Kind, do: Callable[[], T], *, otherwise: T) -> T:
        """Do it; what a training can go on without is only warned of, and not tried again for a while."""
        if kind not in _SPARED:
            return do()
        if time.monotonic() < self._away_until:
            return otherwise
        try:
            return do()
        except (StoreUnavailable, StoreRefused) as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            logger.warning("checkpoints are on this machine alone: %s", error.what)
            return otherwise
