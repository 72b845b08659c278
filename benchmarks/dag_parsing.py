"""Measure what parsing the DAG folder costs beyond the import of Airflow, each time in a fresh interpreter."""

import json
import subprocess

from benchmarks.processes import PROJECT, python

ROUNDS = 5

_PARSE = """
import json, runpy, sys, time
from pathlib import Path
sys.path.insert(0, "plugins")
started = time.perf_counter()
import airflow.sdk, airflow.sdk.exceptions, airflow.providers.standard.hooks.subprocess
from airflow.sdk import AssetAlias, BaseOperator, Connection, Param, dag
imported = time.perf_counter()
for path in sorted(Path("dags").glob("*.py")):
    runpy.run_path(str(path))
print(json.dumps({"airflow": imported - started, "dags": time.perf_counter() - imported}))
"""


def measure() -> list[dict[str, object]]:
    """Time the import of the Airflow modules that the DAGs use, and then the parsing of the folder, in milliseconds."""
    return [_round(number + 1) for number in range(ROUNDS)]


def _round(number: int) -> dict[str, object]:
    done = subprocess.run(python("-c", _PARSE), cwd=PROJECT, check=True, capture_output=True, text=True)
    seconds = json.loads(done.stdout.splitlines()[-1])
    return {
        "round": number,
        "airflow itself, ms": 1000 * seconds["airflow"],
        "DAG folder beyond it, ms": 1000 * seconds["dags"],
    }
