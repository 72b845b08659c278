"""Make Airflow's database ready for `make up` and `make env`: its tables, the pool of the GPU, and the DAGs.

These are commands of Airflow, which one process runs one after another: to import Airflow takes longer than each.
"""

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

from airflow.__main__ import main

COMMANDS = (
    ("db", "migrate"),
    ("pools", "set", "gpu", "1", "One training at a time"),
    ("dags", "reserialize"),  # what `airflow dags list` shows before a DAG processor has run
)


def make_ready() -> None:
    """Run all commands; the first one that fails ends the process, as it ends Airflow's own."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        for words in COMMANDS:
            sys.argv = ["airflow", *words]
            main()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    make_ready()
