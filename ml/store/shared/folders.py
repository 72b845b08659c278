"""Folders in an object store, each whole or absent.

manifests/<kind>/<name>      the files of a folder, their parts and the sha256 of each part; written last, removed first
parts/<kind>/<name>/<sha256> the bytes of a part: a file of more than `PART_BYTES` has several
used/<kind>/<name>           an empty object, whose time says when the folder was used last

A part that is there already is not sent again, and one that lies on disk is not fetched again: so both go on where they
were cut off. Each part is verified by its sha256 when it comes.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from ml.errors import LineageError, StoreDamaged, StoreUnavailable
from ml.records import Part, StoredFolder, from_json, to_json
from ml.store.files import sync
from ml.store.shared.bucket import WHERE, Bucket

PART_BYTES = 1 << 24

Files = Mapping[str, tuple[Part, ...]]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")


class FileChanged(StoreUnavailable):
    """A file is no longer what it was when it was described."""


class _Place(NamedTuple):
    """Where a part lies in a file: from this byte on."""

    path: Path
    start: int
    part: Part


class Folders:
    """The folders of one object store by kind and name."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket

    def files(self, kind: str, name: str) -> Sequence[Files]:
        """Return what the folder has; empty if it is not stored."""
        try:
            text = self.bucket.read(_manifest(kind, name))
        except FileNotFoundError:
            return []
        try:
            return [_checked(from_json(text.decode(), StoredFolder).files)]
        except (LineageError, UnicodeDecodeError):
            raise damaged(kind, name) from None

    def times(self, kind: str) -> Mapping[str, float]:
        """Return the names of all folders of a kind, and when each was stored or used last; the oldest comes first."""
        times: dict[str, float] = {}
        used = {each.key.removeprefix(f"used/{kind}/"): each.time for each in self.bucket.listing(f"used/{kind}/")}
        for each in self.bucket.listing(f"manifests/{kind}/"):
            name = each.key.removeprefix(f"manifests/{kind}/")
            if _NAME.fullmatch(name):
                times[name] = max(each.time, used.get(name, each.time))
        return dict(sorted(times.items(), key=lambda item: (item[1], item[0])))

    def used(self, kind: str, name: str) -> float:
        """Return when a folder was last said to be used, in seconds since 1970; 0 if never."""
        key = f"used/{kind}/{name}"
        return max((each.time for each in self.bucket.listing(key) if each.key == key), default=0.0)

    def stored(self, kind: str, name: str) -> float:
        """Return when a folder was stored, in seconds since 1970; 0 if it is not."""
        key = _manifest(kind, name)
        return max((each.time for each in self.bucket.listing(key) if each.key == key), default=0.0)

    def bytes(self, kind: str, name: str) -> int:
        """Return how many bytes lie there for a folder or what is below it."""
        return sum(each.bytes for each in self.bucket.listing(f"parts/{kind}/{name}/"))

    def add(self, kind: str, name: str, folder: Path, files: Files) -> None:
        """Store a folder, unless one was stored there meanwhile: that one stays."""
        self._send(kind, name, folder, files)
        self.bucket.create(_manifest(kind, name), _text(files))

    def replace(self, kind: str, name: str, folder: Path, files: Files, *, sent: Files | None = None) -> None:
        """Store what `files` says in place of what is there; of it, `sent` lies in the folder, the rest is there."""
        gone = self._parts_of(kind, name) - {part.sha256 for parts in files.values() for part in parts}
        self._send(kind, name, folder, files if sent is None else sent)
        self.bucket.write(_manifest(kind, name), _text(files))
        self.bucket.remove(f"parts/{kind}/{name}/{sha256}" for sha256 in gone)

    def fetch(self, kind: str, name: str, files: Files, folder: Path) -> None:
        """Write files into a folder, in which some or parts of some may lie already.

        Raises StoreDamaged for bytes that are not those that were stored, FileNotFoundError if a part has gone.
        """
        for path in folder.rglob("*"):
            if path.is_file() and path.relative_to(folder).as_posix() not in files:
                path.unlink()  # of files that were replaced meanwhile
        folder.mkdir(parents=True, exist_ok=True)
        for file, parts in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as opened:
                opened.truncate(sum(part.bytes for part in parts))
        self.bucket.each(partial(self._fetch, kind, name), list(_places(folder, files)))
        for file in files:
            sync(folder / file)

    def touch(self, kind: str, name: str) -> None:
        """Let a folder count as used now."""
        self.bucket.write(f"used/{kind}/{name}", b"")

    def hide(self, kind: str, name: str) -> None:
        """Let nobody see a folder any more, nor what is below it; its parts stay."""
        below = [each.key for each in self.bucket.listing(f"{_manifest(kind, name)}/")]
        self.bucket.remove([*below, _manifest(kind, name)])

    def show(self, kind: str, name: str, files: Files) -> None:
        """Take back `hide`."""
        self.bucket.create(_manifest(kind, name), _text(files))

    def drop(self, kind: str, name: str) -> None:
        """Remove a folder and what is below it."""
        self.hide(kind, name)
        parts = self.bucket.listing(f"parts/{kind}/{name}/")
        self.bucket.remove([*(each.key for each in parts), f"used/{kind}/{name}"])

    def sweep(self, kind: str, *, before: float) -> None:
        """Remove the parts of no folder: of one that was replaced, removed or never sent whole, sent before a time."""
        names = {name: self._parts_of(kind, name) for name in self.times(kind)}
        waste = []
        for each in self.bucket.listing(f"parts/{kind}/"):
            name, _, part = each.key.removeprefix(f"parts/{kind}/").rpartition("/")
            if each.time < before and part not in names.get(name, ()):
                waste.append(each.key)
        self.bucket.remove(waste)

    def _parts_of(self, kind: str, name: str) -> set[str]:
        return {part.sha256 for files in self.files(kind, name) for parts in files.values() for part in parts}

    def _send(self, kind: str, name: str, folder: Path, files: Files) -> None:
        there = {each.key.rpartition("/")[2]: each.bytes for each in self.bucket.listing(f"parts/{kind}/{name}/")}
        missing = {place.part.sha256: place for place in _places(folder, files)}
        places = [place for sha256, place in missing.items() if there.get(sha256) != place.part.bytes]
        self.bucket.each(partial(self._send_part, kind, name), places)

    def _send_part(self, kind: str, name: str, place: _Place) -> None:
        content = _read(place)
        if _digest(content) != place.part.sha256:
            what = "a file changed while it was sent to the object store"
            raise FileChanged(what, where=f"{kind} {name[:12]}", fix="try again")
        self.bucket.write(_part(kind, name, place.part), content)

    def _fetch(self, kind: str, name: str, place: _Place) -> None:
        if _digest(_read(place)) == place.part.sha256:
            return
        for _ in range(2):  # the first may have been damaged on its way
            content = self.bucket.read(_part(kind, name, place.part))
            if _digest(content) == place.part.sha256:
                with place.path.open("r+b") as file:
                    file.seek(place.start)
                    file.write(content)
                return
        raise damaged(kind, name)


def described(folder: Path) -> Files:
    """Return the files below a folder with the digests of their parts; locks and what is half written are left out."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): described_file(path) for path in paths if not is_passing(path)}


def is_passing(path: Path) -> bool:
    """Say whether a file is a lock, or half written."""
    return path.name == "lock" or path.suffix in {".lock", ".part"}


def described_file(path: Path) -> tuple[Part, ...]:
    """Return the parts of a file with their digests."""
    with path.open("rb") as file:
        return tuple(_read_parts(file))


def _read_parts(file: BinaryIO) -> Iterator[Part]:
    while content := file.read(PART_BYTES):
        yield Part(sha256=_digest(content), bytes=len(content))


def _places(folder: Path, files: Files) -> Iterator[_Place]:
    for file, parts in files.items():
        start = 0
        for part in parts:
            yield _Place(folder / file, start, part)
            start += part.bytes


def _read(place: _Place) -> bytes:
    with place.path.open("rb") as file:
        file.seek(place.start)
        return file.read(place.part.bytes)


def _checked(files: Files) -> Files:
    """Return them; raises LineageError for a file that would lie elsewhere."""
    for file in files:
        path = PurePosixPath(file)
        if path.is_absolute() or not path.parts or ".." in path.parts or path.as_posix() != file:
            raise LineageError("a file lies elsewhere", where=WHERE, fix="")
    return files


def _manifest(kind: str, name: str) -> str:
    return f"manifests/{kind}/{name}"


def _part(kind: str, name: str, part: Part) -> str:
    return f"parts/{kind}/{name}/{part.sha256}"


def _text(files: Files) -> bytes:
    return to_json(StoredFolder(files=dict(files))).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def damaged(kind: str, name: str) -> StoreDamaged:
    """Return the error of a folder whose bytes are not those that were stored, or are lost."""
    return StoreDamaged(
        "what the object store has is not what was stored there",
        where=f"{WHERE}, {kind} {name[:12]}",
        fix="see who else writes below this prefix; bring back the objects' earlier versions, or remove that folder's"
        " manifest there and run the step that makes it again",
    )
