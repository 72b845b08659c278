"""One process makes Airflow's database ready, or says why it cannot."""

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.live import PROJECT, environment_of

DAGS = {"retrain_quora", "rollback_model", "score_questions", "clean_up"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    folders = {name: str(PROJECT / name.lower()) for name in ("DAGS", "PLUGINS")}
    return environment_of(
        tmp_path,
        AIRFLOW_HOME=str(tmp_path),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        **{f"AIRFLOW__CORE__{name}_FOLDER": folder for name, folder in folders.items()},
    )


def ready(environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [os.environ["FORKED_AIRFLOW"], "-m", "scripts.ready"]
    return subprocess.run(command, cwd=PROJECT, env=environment, check=False, capture_output=True, text=True)


def test_the_pool_and_the_dags_are_there_before_airflow_runs(environment: dict[str, str], tmp_path: Path) -> None:
    for _ in range(2):  # a home that is ready stays so
        done = ready(environment)
        assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(tmp_path / "airflow.db")) as database:
        assert database.execute("select slots from slot_pool where pool = 'gpu'").fetchall() == [(1,)]
        assert {dag_id for (dag_id,) in database.execute("select dag_id from serialized_dag")} == DAGS


def test_a_command_that_fails_is_told_by_the_status_and_ends_the_others(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "airflow.db").write_text("no database")
    done = ready(environment)
    assert done.returncode != 0
    assert "file is not a database" in done.stderr
    assert (tmp_path / "airflow.db").read_text() == "no database"
