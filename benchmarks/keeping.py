"""Measure `gc` and `erase` on a large home: 1,306,122 generated rows, their parts, copies of older weeks, reports.

usage: python -m benchmarks keeping
       python -m benchmarks.keeping --rows 100000 --weeks 50      (at another size)
"""

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from benchmarks.data_path import ROWS, prepare
from benchmarks.processes import python, run

WEEKS = 10
ERASED = 100


def measure(rows: int = ROWS, weeks: int = WEEKS) -> list[dict[str, object]]:
    """Measure each command: its wall and CPU seconds, and its peak memory in MiB."""
    with tempfile.TemporaryDirectory(prefix="sincere-bench-") as folder:
        return list(_measure(Path(folder), rows, weeks))


def _measure(folder: Path, rows: int, weeks: int) -> Iterator[dict[str, object]]:
    environment, log = {"SINCERE_HOME": str(folder / "home")}, folder / "log"
    prepare(folder, rows, environment=environment, log=log)
    stored = [place for kind in ("snapshots", "splits") for place in (folder / "home" / "store" / kind).iterdir()]
    for week in range(1, weeks):
        _copy_week(folder / "home" / "reports", stored, week)
    with (folder / "generated.csv").open(encoding="utf-8") as csv:
        next(csv)
        (folder / "ids").write_text("\n".join(next(csv).partition(",")[0] for _ in range(ERASED)), encoding="utf-8")
    for name, arguments in {
        "erase": ("erase", "--ids", str(folder / "ids")),
        "gc --dry-run": ("gc", "--dry-run"),
        "gc": ("gc",),
    }.items():
        cost = run(python("-m", "ml", *arguments), environment=environment, log=log)
        yield {"command": name, **asdict(cost)}


def _copy_week(reports: Path, stored: Sequence[Path], week: int) -> None:
    """Keep snapshot, parts and reports once more, as old as `week` half-years, under names of their own."""
    for place in stored:
        copy = place.with_name(sha256(f"{week} {place.name}".encode()).hexdigest())
        shutil.copytree(place, copy)
        os.utime(copy, (0, copy.stat().st_mtime - week * 180 * 86_400))
    shutil.copytree(reports / "bench", reports / f"week-{week}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--weeks", type=int, default=WEEKS)
    given = parser.parse_args()
    for result in measure(given.rows, given.weeks):
        print(json.dumps(result), flush=True)
