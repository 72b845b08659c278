"""What `make env` prints is for a shell to run: whatever the folders are called, it gets exactly their names."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.forked_airflow import quick_make
from tests.live import PROJECT, environment_of

HOME = '/folder/it\'s "a" home with \\ and `ticks` and * and é'
SHELLS = {"bash": 'eval "$(cat)"', "zsh": 'eval "$(cat)"', "fish": "source"}


@pytest.mark.parametrize("shell", list(SHELLS))
def test_a_shell_takes_every_name_as_it_is(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    given = {"AIRFLOW_HOME": f"{HOME}/airflow", "AIRFLOW__CORE__DAGS_FOLDER": "the dags"}
    others = ("AIRFLOW__CORE__PLUGINS_FOLDER", "AIRFLOW__CORE__LOAD_EXAMPLES", "AIRFLOW__API__PORT")
    environment = {
        **os.environ,
        **dict.fromkeys((*others, "AIRFLOW__API__BASE_URL"), "x"),
        "SINCERE_HOME": HOME,
        **given,
    }
    printed = subprocess.run(
        [".venv/bin/python", "-m", "scripts.env"], cwd=PROJECT, env=environment, check=True, capture_output=True
    ).stdout
    asked = f"{SHELLS[shell]}; printenv SINCERE_HOME AIRFLOW_HOME AIRFLOW__CORE__DAGS_FOLDER; command -v airflow"
    told = subprocess.run([shell, "-c", asked], input=printed, check=True, capture_output=True).stdout.decode()
    assert told.splitlines() == [HOME, *given.values(), str(PROJECT / ".venv" / "bin" / "airflow")]


def test_nothing_but_exports_is_printed_and_a_relative_home_is_the_projects(tmp_path, tmp_path_factory) -> None:
    environment = environment_of(tmp_path) | {"SINCERE_HOME": os.path.relpath(tmp_path, PROJECT)}
    make = quick_make(tmp_path_factory.mktemp("bin"), python=sys.executable)
    env = subprocess.run([*make, "env"], cwd=PROJECT, env=environment, check=True, capture_output=True, text=True)
    lines = env.stdout.splitlines()
    assert [line for line in lines if not line.startswith("export ")] == []
    assert f"export SINCERE_HOME={tmp_path}" in lines
    assert f"export AIRFLOW_HOME={tmp_path}/airflow" in lines
