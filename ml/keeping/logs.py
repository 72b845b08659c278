"""The log files of Airflow: files that end in .log, in a folder that is named; no link is followed."""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

_LOG = re.compile(r".+\.log(\.[0-9]+)?")


def log_folders(environment: Mapping[str, str], home: Path) -> Collection[Path]:
    """Return the folder that Airflow's environment names, else that of its home, else that of `make up`'s, if it is."""
    airflow = environment.get("AIRFLOW_HOME") or str(home / "airflow")
    named = environment.get("AIRFLOW__LOGGING__BASE_LOG_FOLDER") or str(Path(airflow, "logs"))
    folder = Path(named).expanduser()
    return [folder] if folder.is_dir() else []


def log_files(folder: Path) -> Iterator[Path]:
    """Yield all log files below a folder."""
    for root, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(root, name)
            if _LOG.fullmatch(name) and not path.is_symlink():
                yield path


def drop_log(path: Path, *, since: float) -> bool:
    """Remove a log file unless somebody has written to it since a time; say whether it is gone."""
    if path.lstat().st_mtime > since:
        return False
    path.unlink()
    return True


def remove_empty_folders(folders: Collection[Path], *, before: float) -> None:
    """Remove the folders in them that are empty, and were before a time: so nobody is about to write there."""
    for folder in folders:
        for root, _, _ in os.walk(folder, topdown=False):
            place = Path(root)
            with suppress(OSError):  # it is not empty, or another process was quicker
                if place != folder and place.lstat().st_mtime < before:
                    place.rmdir()
