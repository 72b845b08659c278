"""The verdict of each run as text, beside its reports: what a person reads at the end of `make retrain`."""

from pathlib import Path

from ml.errors import DataError
from ml.run import Run

_NAME = "verdict.txt"


def keep_verdict(run: Run, text: str) -> None:
    """Write the run's verdict, whole."""
    path = run.run_reports / _NAME
    beside = path.with_suffix(".part")
    beside.write_text(text + "\n", encoding="utf-8")
    beside.replace(path)


def read_verdict(run_reports: Path) -> str:
    """The verdict among a run's reports."""
    return (run_reports / _NAME).read_text(encoding="utf-8").rstrip("\n")


def newest_verdict(reports: Path) -> str:
    """The verdict of the run that came to one last; raises DataError if none did."""
    verdicts = sorted(reports.glob(f"*/{_NAME}"), key=lambda path: path.stat().st_mtime_ns)
    if not verdicts:
        raise DataError("no run has come to a verdict yet", where="the reports", fix="run `make retrain`")
    return read_verdict(verdicts[-1].parent)
