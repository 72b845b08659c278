"""What the steps of a run kept for its page: strict records, a file each."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from ml.errors import LineageError
from ml.records import DataQuality, ObservedCheck, TrackedRun, from_json
from retraining.pages.run_folder import is_report

R = TypeVar("R")


class Kept:
    """The records of one run; a kind that is not there, or cannot be read, gives none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self, kind: type[R]) -> list[R]:
        """Return the record of a kind, as a list of one or none."""
        return list(self._read(self._folder / "page" / f"{kind.__name__}.json", kind))

    def quality(self, step: str) -> list[ObservedCheck]:
        """Return what the expectations of a step found."""
        file = self._folder / "data_quality" / f"{step}.json"
        return [check for quality in self._read(file, DataQuality) for check in quality.checks]

    def tracked_runs(self) -> list[TrackedRun]:
        """Return the addresses in Weights & Biases, in the order of the steps."""
        files = sorted((self._folder / "page").glob("tracked-*.json"), key=lambda file: file.stat().st_mtime_ns)
        return [run for file in files for run in self._read(file, TrackedRun)]

    def _read(self, file: Path, kind: type[R]) -> Iterator[R]:
        if is_report(file, self._folder):
            try:
                yield from_json(file.read_text(encoding="utf-8"), kind)
            except (LineageError, UnicodeDecodeError):
                return
