"""The verdict of each run as text, beside its reports: what a person reads at the end of `make retrain`."""

from pathlib import Path

from ml.errors import DataError
from ml.run import Run
from ml.store.files import write_whole

_NAME = "verdict.txt"


def keep_verdict(run: Run, text: str) -> None:
    """Write the run's verdict, whole."""
    write_whole(run.report_folder / _NAME, text + "\n")


def read_verdict(report_folder: Path) -> str:
    """The verdict among a run's reports."""
    return (report_folder / _NAME).read_text(encoding="utf-8").rstrip("\n")


def newest_verdict(reports: Path) -> str:
    """The verdict of the run that came to one last; raises DataError if none did."""
    verdicts = sorted(reports.glob(f"*/{_NAME}"), key=lambda path: path.stat().st_mtime_ns)
    if not verdicts:
        raise DataError("no run has come to a verdict yet", where="the reports", fix="run `make retrain`")
    return read_verdict(verdicts[-1].parent)
