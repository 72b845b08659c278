"""The folder of a run's reports: which of its files are served."""

import os
from pathlib import Path

from retraining import PROJECT
from retraining.model import Model

# What a step wrote: its pages bear their pictures and styles, and no script of theirs is run.
REPORT_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
}


def reports_folder(model: Model) -> Path:
    """Return the folder of the reports of all of a model's runs."""
    from ml.config.environment import home_of

    return home_of(model.environment(os.environ), PROJECT) / "reports"


def is_report(file: Path, folder: Path) -> bool:
    """Whether it is a readable file of the run's folder; a link out of the folder is none."""
    try:
        found = file.resolve()
        return found.is_relative_to(folder) and found.is_file() and os.access(found, os.R_OK)
    except (OSError, RuntimeError, ValueError):  # a name that is too long, a NUL in it, links that lead to each other
        return False
