"""The content-addressed store: `store/<kind>/<digest>/`. What is in it is whole, and never changes."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from ml.errors import LineageError

Kind = Literal["snapshots", "splits", "models", "trainings", "comparisons", "decisions", "moves", "pending"]
_CHUNK_BYTES = 1 << 20


class Store:
    """Folders of files by kind and digest, under one root on one file system."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def contains(self, kind: Kind, digest: str) -> bool:
        """Whether it is stored, whole."""
        return self._place(kind, digest).is_dir()

    def open(self, kind: Kind, digest: str) -> Path:
        """The folder of what is stored; raises LineageError if it is not there."""
        place = self._place(kind, digest)
        if not place.is_dir():
            raise LineageError(
                f"{kind} {digest[:12]} is not in the store",
                where=f"store/{kind}",
                fix="run the step that makes it again, or point SINCERE_HOME at the home that holds it",
            )
        return place

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """An empty folder on the store's file system, gone at the end; `commit` what is worth keeping."""
        parent = self.root / "staging"
        parent.mkdir(parents=True, exist_ok=True)
        with _exclusively(parent):
            _sweep(parent)
            lock = tempfile.NamedTemporaryFile(dir=parent, suffix=".lock", delete=False)  # noqa: SIM115, closed below
            fcntl.flock(lock, fcntl.LOCK_EX)
        with lock:
            folder = Path(lock.name).with_suffix("")
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                Path(lock.name).unlink()  # while it is held: nobody sweeps it meanwhile

    def commit(self, staged: Path, kind: Kind, digest: str) -> Path:
        """Move a staged folder to its place by rename; the same content stored before stays as it is."""
        place = self._place(kind, digest)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            staged.rename(place)
        except OSError:
            if not place.is_dir():
                raise
        return place

    def put(self, kind: Kind, name: str, texts: Mapping[str, str]) -> None:
        """Keep texts as files under a name instead of a digest; what was there makes way."""
        self.drop(kind, name)
        with self.staging() as folder:
            for file, text in texts.items():
                (folder / file).write_text(text, encoding="utf-8")
            self.commit(folder, kind, name)

    def drop(self, kind: Kind, digest: str) -> None:
        """Remove what is stored, if it is there, by rename: nobody sees half of it."""
        with self.staging() as folder, suppress(FileNotFoundError):
            self._place(kind, digest).rename(folder / "dropped")

    def _place(self, kind: Kind, digest: str) -> Path:
        return self.root / kind / digest


@contextmanager
def _exclusively(folder: Path) -> Iterator[None]:
    """One process at a time; the system lets go of the lock when the process ends, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sweep(staging: Path) -> None:
    """Remove what killed processes left: folders whose lock nobody holds any more."""
    for path in staging.glob("*.lock"):
        with suppress(FileNotFoundError, BlockingIOError), path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)


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
