"""Measure what Airflow costs: the wall time of the DAG with `airflow dags test` and of `python -m ml run`, in turns."""

import json
import tempfile
from pathlib import Path

from benchmarks.processes import PROJECT, Cost, python, run

ROUNDS = 3
SOURCE = "sample:2000"
EPOCHS = 1


def measure(rounds: int = ROUNDS) -> list[dict[str, object]]:
    """Time both in each round, in seconds, one after the other on the same input."""
    results: list[dict[str, object]] = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory(prefix="sincere-bench-") as folder:
            airflow, plain = _with_airflow(Path(folder) / "a"), _without_airflow(Path(folder) / "b")
        results.append({"round": number + 1, "airflow_seconds": airflow.seconds, "plain_seconds": plain.seconds})
    return results


def _with_airflow(home: Path) -> Cost:
    home.mkdir()
    environment = {
        "SINCERE_HOME": str(home),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    }
    airflow = python("-m", "airflow")
    run([*airflow, "db", "migrate"], environment=environment, log=home / "log")
    conf = json.dumps({"source": SOURCE, "epochs": EPOCHS})
    return run([*airflow, "dags", "test", "retrain_quora", "--conf", conf], environment=environment, log=home / "log")


def _without_airflow(home: Path) -> Cost:
    home.mkdir()
    command = python("-m", "ml", "run", "--source", SOURCE, "--set", f"train.epochs={EPOCHS}")
    return run(command, environment={"SINCERE_HOME": str(home)}, log=home / "log")
