"""`make bench`: run the benchmarks, write their results to bench.json, and print them as tables.

usage: python -m benchmarks [training] [data-path] [airflow] [parsing] [significance] [checkpoints] [mutations]
[pages] [watch] [scoring] [imports] [workers] [keeping] (all by default), or
python -m benchmarks store, which asks the object store of SINCERE_STORE
"""

import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    airflow_overhead,
    checkpoints,
    dag_parsing,
    data_path,
    imports,
    keeping,
    mutations,
    pages,
    scoring,
    significance,
    store,
    training,
    watch,
    workers,
)

MEASURES: dict[str, Callable[[], list[dict[str, object]]]] = {
    "training": training.measure,
    "data-path": data_path.measure,
    "airflow": airflow_overhead.measure,
    "parsing": dag_parsing.measure,
    "significance": significance.measure,
    "checkpoints": checkpoints.measure,
    "mutations": mutations.measure,
    "pages": pages.measure,
    "watch": watch.measure,
    "scoring": scoring.measure,
    "imports": imports.measure,
    "workers": workers.measure,
    "keeping": keeping.measure,
}
ON_REQUEST = {"store": store.measure}


def main(names: Sequence[str]) -> None:
    """Run the named benchmarks, one after the other; the file keeps the earlier results of the others."""
    file = Path(os.environ.get("SINCERE_HOME", "var")) / "bench.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, object] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    results |= {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()}
    for name in names or MEASURES:
        results[name] = rows = (MEASURES | ON_REQUEST)[name]()
        print(f"\n{name}\n{table(rows)}", flush=True)
        file.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(f"\nwritten to {file}")


def table(rows: Sequence[dict[str, object]]) -> str:
    """Format a Markdown table; floats have one decimal."""
    lines = [[_cell(value) for value in row.values()] for row in rows]
    header = list(rows[0])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *lines))


def _cell(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main(sys.argv[1:])
