"""`make env`: print what a shell needs, so that plain `airflow` works in any folder on the home of `make up`."""

import os
import shlex
import sys
from pathlib import Path

NAMES = (
    "SINCERE_HOME",
    "AIRFLOW_HOME",
    "AIRFLOW__CORE__DAGS_FOLDER",
    "AIRFLOW__CORE__PLUGINS_FOLDER",
    "AIRFLOW__CORE__LOAD_EXAMPLES",
    "AIRFLOW__API__PORT",
    "AIRFLOW__API__BASE_URL",
    "TF_USE_LEGACY_KERAS",
)


def lines() -> list[str]:
    """Return commands that bash, zsh and any POSIX shell understand."""
    programs = shlex.quote(str(Path(sys.prefix, "bin")))
    return [
        f'export PATH={programs}:"$PATH"',
        *(f"export {name}={shlex.quote(os.environ[name])}" for name in NAMES),
    ]


if __name__ == "__main__":
    print("\n".join(lines()))
