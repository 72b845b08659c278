"""Commands `backup` and `restore`: registry, store and reports in one tar file, with the sha256 of each file in it.

store/…  reports/…  registry/…  and, last, MANIFEST.json. What only spares a retry its work is not in it: checkpoints,
staging, kept scores. A file with two names is in it once, and gets both names again.
"""

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from ml.errors import ConfigError, DataError
from ml.registry.local import LocalRegistry
from ml.run import Run
from ml.store.files import sync, writing_whole

_MANIFEST = "MANIFEST.json"
_STORE, _REPORTS, _REGISTRY = "store", "reports", "registry"
_LEFT_OUT = {f"{_STORE}/{kind}" for kind in ("staging", "checkpoints", "scores", "unsent", "meetings")} | {
    f"{_REGISTRY}/staging"
}
# These may be replaced or dropped while a run goes on; all else in the store is complete, and never changes.
_NAMED = {f"{_STORE}/{kind}" for kind in ("pending", "moves", "underway", "answers")}
_CHUNK_BYTES = 1 << 20

_Digests = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Backup:
    """How many files are in a backup, their bytes, and whether the registry is among them."""

    files: int
    bytes: int
    with_registry: bool


def back_up(run: Run, file: Path) -> Backup:
    """Write a backup, whole or not at all; meanwhile nobody promotes, cleans up or erases, and trainings go on.

    Raises ConfigError if the state is in an object store.
    """
    _refuse_shared(run)
    with ExitStack() as held:
        held.enter_context(run.store.lock("keeping", waiting="waiting for another process that cleans up"))
        held.enter_context(run.registry.turn())
        to = held.enter_context(writing_whole(file))
        tar = held.enter_context(tarfile.open(fileobj=to.buffer, mode="w|"))
        writer = _Writer(tar)
        for name, place in _places(run).items():
            writer.add_folder(name, place)
        writer.add_manifest()
    with_registry = any(name.startswith(f"{_REGISTRY}/") for name in writer.digests)
    return Backup(files=len(writer.digests), bytes=writer.bytes, with_registry=with_registry)


def restore(run: Run, file: Path) -> Backup:
    """Bring a backup back into an empty home and an empty registry; each file is verified by its sha256.

    Raises ConfigError, and changes nothing, where anything is there already, DataError for a backup that is cut off or
    was changed. A restore that was cut off is begun anew, or finished if all was verified.
    """
    _refuse_shared(run)
    places = _places(run)
    for name, place in places.items():
        _refuse_occupied(name, place, cut_off=_placing_was_cut_off(places))
    if not _placing_was_cut_off(places):
        _extract(file, places)
    for place in places.values():
        if _staged(place).is_dir():
            _staged(place).rename(place)
            sync(place.parent)
    files = {path: name for name, place in places.items() for path in place.rglob("*") if path.is_file()}
    size = sum(path.stat().st_size for path in files)
    return Backup(files=len(files), bytes=size, with_registry=_REGISTRY in files.values())


def _refuse_shared(run: Run) -> None:
    if run.store.is_shared:
        raise ConfigError(
            "the state is in an object store, and this home is a part of it alone",
            where="SINCERE_STORE",
            fix="copy all below its prefix to another one, which is a whole store then: docs/store.md says how",
        )


def _places(run: Run) -> dict[str, Path]:
    """Return where each part of a backup lies, in the order in which a restore puts them there."""
    home = run.reports.parent
    registry = {_REGISTRY: run.registry.root} if isinstance(run.registry, LocalRegistry) else {}
    return {_STORE: home / _STORE, _REPORTS: run.reports, **registry}


class _Writer:
    """Adds folders to a tar file, and remembers the digest of each file."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.digests: _Digests = {}
        self.bytes = 0

    def add_folder(self, name: str, place: Path) -> None:
        """Add a folder and all below it under a name; no link is followed, and no lock is added."""
        if name in _LEFT_OUT or place.is_symlink() or not place.is_dir():
            return
        self._tar.addfile(_anonymous(self._tar.gettarinfo(place, name)))
        for path in sorted(place.iterdir()):
            inside = f"{name}/{path.name}"
            if name in _NAMED:
                self._add_at_once(inside, path)
            elif path.is_dir():
                self.add_folder(inside, path)
            elif path.is_file() and not (path.is_symlink() or _is_lock(path)):
                with path.open("rb") as file:
                    self._add(inside, file)

    def add_manifest(self) -> None:
        """Add the digests of all files."""
        content = json.dumps(self.digests, sort_keys=True).encode()
        info = tarfile.TarInfo(_MANIFEST)
        info.size = len(content)
        self._tar.addfile(info, io.BytesIO(content))

    def _add_at_once(self, name: str, folder: Path) -> None:
        """Add a folder of small files as it was at one time, or not at all."""
        try:
            files = [path.open("rb") for path in sorted(folder.iterdir()) if path.is_file()]
        except FileNotFoundError:  # its run has just ended
            return
        with ExitStack() as opened:
            for file in files:
                opened.enter_context(file)
            self._tar.addfile(_anonymous(self._tar.gettarinfo(folder, name)))
            for file in files:
                self._add(f"{name}/{Path(file.name).name}", file)

    def _add(self, name: str, file: BinaryIO) -> None:
        info = _anonymous(self._tar.gettarinfo(arcname=name, fileobj=file))
        hashing = _Hashing(file)
        self._tar.addfile(info, hashing if info.isreg() else None)
        self.digests[name] = hashing.sha.hexdigest() if info.isreg() else self.digests[info.linkname]
        self.bytes += info.size


class _Hashing(io.RawIOBase):
    """Reads a file, and digests what was read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self.sha.update(content)
        return content


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def _is_lock(path: Path) -> bool:
    return path.name == "lock" or path.suffix in {".lock", ".part"}


def _staged(place: Path) -> Path:
    return place.with_name(f".{place.name}.restore")


def _placing_was_cut_off(places: Mapping[str, Path]) -> bool:
    """Whether a restore had verified all, and put the first part into place: the parts behind it wait."""
    first, *others = places.values()
    return not _staged(first).exists() and any(_staged(other).exists() for other in others)


def _refuse_occupied(name: str, place: Path, *, cut_off: bool) -> None:
    placed = cut_off and not _staged(place).exists()
    if place.exists() and not placed and (not place.is_dir() or any(place.iterdir())):
        raise ConfigError(
            f"there is a {name} already, and a restore overwrites nothing",
            where="SINCERE_REGISTRY" if name == _REGISTRY else f"SINCERE_HOME: {name}",
            fix="name an empty home and an empty registry, or move away what is there",
        )


def _extract(file: Path, places: Mapping[str, Path]) -> None:
    """Write all files beside their places, and verify each; raises DataError for a backup that is not whole."""
    for place in places.values():
        shutil.rmtree(_staged(place), ignore_errors=True)
        _staged(place).mkdir(parents=True)
    reader = _Reader({name: _staged(place) for name, place in places.items()})
    try:
        with file.open("rb") as content, tarfile.open(fileobj=content, mode="r|") as tar:
            for member in tar:
                reader.take(tar, member)
    except tarfile.TarError:
        raise _damaged("it is cut off, or no backup") from None
    reader.finish()


class _Reader:
    """Writes the members of a backup below folders, by the first part of their names."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        self._digests: _Digests = {}
        self._manifest: _Digests = {}
        self._times: dict[Path, float] = {}

    def take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Write one member."""
        if member.name == _MANIFEST:
            self._manifest = json.loads(_content(tar, member).read())
            return
        path = self._path(member.name)
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            self._times[path] = member.mtime
        elif member.islnk():
            _link_or_copy(self._path(member.linkname), path)
            self._digests[member.name] = self._digests[member.linkname]
        else:
            self._digests[member.name] = _write(_content(tar, member), path)
            path.chmod(member.mode & 0o777)
            os.utime(path, (member.mtime, member.mtime))

    def finish(self) -> None:
        """Give the folders their times; raises DataError if the files are not those of the manifest."""
        if not self._manifest or self._digests != self._manifest:
            raise _damaged("its files are not those of its manifest")
        for path, time in reversed(self._times.items()):
            os.utime(path, (time, time))

    def _path(self, name: str) -> Path:
        first, *others = PurePosixPath(name).parts
        if first == _REGISTRY and first not in self._folders:
            raise ConfigError(
                "the backup has a registry in a folder, and the registry is elsewhere",
                where="SINCERE_REGISTRY",
                fix="let it name a folder that is empty or not there, file:PATH",
            )
        if first not in self._folders or ".." in others:
            raise _damaged("it has a file that no backup has")
        return self._folders[first].joinpath(*others)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member) if member.isreg() else None
    if content is None:
        raise _damaged("it has a file that no backup has")
    return content


def _write(content: IO[bytes], path: Path) -> str:
    """Write a new file, wait until it is on disk, and return its sha256."""
    hashing = _Hashing(content)
    with path.open("xb") as file:
        shutil.copyfileobj(hashing, file, _CHUNK_BYTES)
        file.flush()
        os.fsync(file.fileno())
    return hashing.sha.hexdigest()


def _link_or_copy(source: Path, path: Path) -> None:
    try:
        path.hardlink_to(source)
    except OSError:
        shutil.copy2(source, path)


def _damaged(what: str) -> DataError:
    return DataError(f"the backup cannot be used: {what}", where="the backup", fix="take another one")
