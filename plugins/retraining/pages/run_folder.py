"""The folder of a run's reports: which of its files are served."""

import os
import re
import time
from pathlib import Path

from retraining import PROJECT
from retraining.model import Model

# What a step wrote: its pages bear their pictures and styles, and no script of theirs is run.
REPORT_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
}

_FETCHES = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_FRESH_SECONDS = 10
_FRESH: dict[tuple[Model | str, ...], float] = {}


def reports_folder(model: Model) -> Path:
    """Return the folder of the reports of all of a model's runs."""
    from ml.config.environment import home_of

    return home_of(model.environment(os.environ), PROJECT) / "reports"


def reports_of_run(model: Model, name: str) -> Path:
    """Return the folder of a run's reports, fetched where an object store has them.

    Raises SincereError if the store does not answer and nothing of them is here.
    """
    folder = reports_folder(model) / name
    if _FETCHES.fullmatch(name):
        _have(model, name, here=folder.is_dir())
    return folder


def records_of_runs(model: Model) -> Path:
    """Return the folder of the reports of all runs, in which at least what steps kept of them is."""
    folder = reports_folder(model)
    _have(model, here=folder.is_dir())
    return folder


def _have(model: Model, *names: str, here: bool) -> None:
    from ml.errors import SincereError

    environment = model.environment(os.environ)
    if not environment.get("SINCERE_STORE") or _FRESH.get((model, *names), 0.0) > time.monotonic() - _FRESH_SECONDS:
        return
    from retraining.pages.process import answer_of

    try:
        answer_of(["ml.store.shared.fetch_reports", *names], environment, {})
        _FRESH[(model, *names)] = time.monotonic()
    except SincereError:
        if not here:
            raise


def is_report(file: Path, folder: Path) -> bool:
    """Whether it is a readable file of the run's folder; a link out of the folder is none."""
    try:
        found = file.resolve()
        return found.is_relative_to(folder) and found.is_file() and os.access(found, os.R_OK)
    except (OSError, RuntimeError, ValueError):  # a name that is too long, a NUL in it, links that lead to each other
        return False
