"""The reports of runs in an object store: a step fetches those of its run, and sends what it has written.

What a home has changed since it sent or fetched a file last is newer there; of what it has not, the store's counts. So
steps of a run may be on different hosts, one after another.
"""

import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ml.errors import LineageError
from ml.records import Part, SyncedFile, SyncedReports, from_json, to_json
from ml.store import Measured
from ml.store.files import write_whole
from ml.store.locks import locked
from ml.store.mirror import Mirror
from ml.store.shared.folders import FileChanged, Files, Folders, damaged, described_file, is_passing

_KIND = "reports"
_RECORDS = ("page/", "history/", "data_quality/")
_SECONDS_TO_SEND = 3600.0
_NOTHING = SyncedReports(files={}, time=0.0)

_Wanted = Callable[[str], bool]


class SharedReports(Mirror):
    """The reports below a home's `reports/`, and the same in an object store."""

    def __init__(self, home: Path, folders: Folders) -> None:
        self._root, self._folders = home / "reports", folders
        self._records, self._fetched = home / "store" / "sent" / _KIND, home / "store" / "fetched" / _KIND

    def fetch(self, run_id: str) -> None:
        """Have the reports of a run in this home."""
        self._fetch(run_id, lambda file: True, records=True)

    def fetch_all(self, *, records_alone: bool) -> None:
        """Have the reports of all runs in this home, or what steps kept of them for pages and for the history."""
        for run_id, then in self._folders.times(_KIND).items():
            if not records_alone:
                self.fetch(run_id)
            elif self._read(run_id).time != then:
                self._fetch(run_id, lambda file: file.startswith(_RECORDS), records=True)

    def fetch_newest(self, file: str) -> None:
        """Have the file of this name of the run that wrote last, of those that have one."""
        for run_id in list(self._folders.times(_KIND))[::-1]:
            if any(file in files for files in self._folders.files(_KIND, run_id)):
                self._fetch(run_id, lambda name: name == file, records=False)
                return

    def send(self) -> None:
        """Send what was written since it was sent last, of all runs; what is written now is sent by who writes it."""
        for folder in sorted(self._root.glob("*")):
            if folder.is_dir() and not folder.is_symlink() and not folder.name.startswith("."):
                with suppress(FileNotFoundError, FileChanged):
                    self._send(folder.name)

    def measured(self, run_id: str, here: Measured) -> Measured:
        """Return how large the reports of a run are there, and when they were written last."""
        then = self._folders.stored(_KIND, run_id)
        return Measured(self._folders.bytes(_KIND, run_id), then) if then else here

    def drop(self, run_id: str) -> None:
        """Remove the reports of a run that are not in this home."""
        self._folders.drop(_KIND, run_id)
        self._record(run_id).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove from this home the reports that other hosts have dropped, and what processes that died left there."""
        self._folders.sweep(_KIND, before=time.time() - _SECONDS_TO_SEND)
        there = self._folders.times(_KIND)
        for record in self._records.glob("*.json"):
            if record.stem not in there:
                shutil.rmtree(self._root / record.stem, ignore_errors=True)
                record.unlink(missing_ok=True)

    def _fetch(self, run_id: str, wanted: _Wanted, *, records: bool) -> None:
        """Have the wanted files; `records` says that what steps kept is among them."""
        for _ in range(2):
            try:
                for files in self._folders.files(_KIND, run_id):
                    then = self._folders.stored(_KIND, run_id)
                    some = {file: parts for file, parts in files.items() if wanted(file)}
                    known = self._have(run_id, some, then, there=set(files))
                    self._write(run_id, SyncedReports(files=known, time=then if records else 0.0))
                return
            except FileNotFoundError:  # replaced meanwhile
                continue
        raise damaged(_KIND, run_id)

    def _have(self, run_id: str, files: Files, then: float, *, there: Collection[str]) -> dict[str, SyncedFile]:
        """Have these files, and none that has gone from `there`; return what this home knows now."""
        folder = self._root / run_id
        with self._locked(run_id):
            known = self._read(run_id).files
            missing = {file: parts for file, parts in files.items() if _lacks(folder / file, known.get(file), parts)}
            self._place(run_id, missing, then)
            gone = [file for file in known if file not in there and _is_as(folder / file, known[file])]
            for file in gone:
                (folder / file).unlink()
            now = {file: _synced(folder / file, parts) for file, parts in missing.items()}
            return {**{file: each for file, each in known.items() if file not in gone}, **now}

    def _place(self, run_id: str, files: Files, then: float) -> None:
        """Fetch files beside their places, and move them there; each is as old as it is in the store."""
        folder, beside = self._root / run_id, self._fetched / run_id
        self._folders.fetch(_KIND, run_id, files, beside)
        for file in files:
            os.utime(beside / file, (then, then))
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (beside / file).replace(folder / file)
        shutil.rmtree(beside)
        if files:
            _date(folder, then)

    def _send(self, run_id: str) -> None:
        folder = self._root / run_id
        here = {path.relative_to(folder).as_posix(): path for path in _reports(folder)}
        if self._is_sent(self._read(run_id).files, here):
            return
        with self._locked(run_id):
            there = self._folders.files(_KIND, run_id)
            known = self._read(run_id).files if there else {}
            kept = {file: each for file, each in known.items() if file in here and _is_as(here[file], each)}
            written = {file: path for file, path in here.items() if file not in kept}
            sent = {file: _synced(path, described_file(path)) for file, path in written.items()}
            parts = {file: each.parts for file, each in sent.items()}
            others = {file: its for files in there for file, its in files.items() if file in here or file not in known}
            self._folders.replace(_KIND, run_id, folder, {**others, **parts}, sent=parts)
            self._write(run_id, SyncedReports(files={**kept, **sent}, time=0.0))

    def _is_sent(self, known: Mapping[str, SyncedFile], here: Mapping[str, Path]) -> bool:
        return known.keys() == here.keys() and all(_is_as(path, known[file]) for file, path in here.items())

    @contextmanager
    def _locked(self, run_id: str) -> Iterator[None]:
        lock = self._records / f"{run_id}.lock"
        with locked(lock, waiting="waiting for another process that fetches or sends the same reports"):
            yield
            lock.unlink()

    def _read(self, run_id: str) -> SyncedReports:
        with suppress(FileNotFoundError, LineageError, UnicodeDecodeError):
            return from_json(self._record(run_id).read_text(encoding="utf-8"), SyncedReports)
        return _NOTHING

    def _write(self, run_id: str, synced: SyncedReports) -> None:
        write_whole(self._record(run_id), to_json(synced))

    def _record(self, run_id: str) -> Path:
        return self._records / f"{run_id}.json"


def _reports(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and not is_passing(path):
            yield path


def _lacks(path: Path, known: SyncedFile | None, parts: tuple[Part, ...]) -> bool:
    """Whether a file is to be fetched: not one that was written or removed here since it was the store's."""
    if known is None:
        return not path.exists()
    return known.parts != parts and (_is_as(path, known) or not path.exists())


def _is_as(path: Path, known: SyncedFile) -> bool:
    with suppress(FileNotFoundError):
        status = path.stat()
        return (status.st_mtime_ns, status.st_size) == (known.modified, known.bytes)
    return False


def _synced(path: Path, parts: tuple[Part, ...]) -> SyncedFile:
    status = path.stat()
    return SyncedFile(parts=parts, modified=status.st_mtime_ns, bytes=status.st_size)


def _date(folder: Path, then: float) -> None:
    """Let folders be as old as what was fetched into them: what goes by age looks at that."""
    for path in (*folder.rglob("*"), folder):
        if path.is_dir():
            os.utime(path, (then, then))
