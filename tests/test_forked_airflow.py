"""The Airflow that waits for no import has the settings of each command, and runs none by the settings of another."""

import os
import subprocess
from pathlib import Path


def _airflow(*command: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | settings
    program = [os.environ["FORKED_AIRFLOW"], *command]
    return subprocess.run(program, env=environment, check=False, capture_output=True, text=True)


def test_each_command_has_the_settings_of_its_own_environment_and_home(tmp_path: Path) -> None:
    for home in (tmp_path / "one", tmp_path / "two"):
        asked = ("config", "get-value", "database", "sql_alchemy_conn")
        assert _airflow(*asked, AIRFLOW_HOME=str(home)).stdout.splitlines()[-1] == f"sqlite:///{home}/airflow.db"
        (home / "airflow.cfg").write_text("[database]\nsql_alchemy_conn = sqlite:////elsewhere.db\n")
        assert _airflow(*asked, AIRFLOW_HOME=str(home)).stdout.splitlines()[-1] == "sqlite:////elsewhere.db"


def test_a_setting_that_was_read_with_the_imports_is_refused_by_name(tmp_path: Path) -> None:
    other = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": "7"}
    done = _airflow("version", **other)
    assert done.returncode == 1
    assert "triggerer.max_trigger_to_select_per_loop" in done.stderr


_TOLD = """
from airflow.api_fastapi.app import API_BASE_URL
from airflow.sdk.api.client import API_TIMEOUT, Client

print("told", API_BASE_URL, API_TIMEOUT, Client.request.retry.stop.max_attempt_number)
"""


def test_what_the_parts_have_kept_of_settings_is_that_of_each_command(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "airflow_local_settings.py").write_text(_TOLD)  # Airflow reads it when it begins
    settings = {"API__BASE_URL": "http://here:9", "WORKERS__EXECUTION_API_TIMEOUT": "7"}
    settings["WORKERS__EXECUTION_API_RETRIES"] = "3"
    given = {f"AIRFLOW__{name}": value for name, value in settings.items()}
    done = _airflow("version", AIRFLOW_HOME=str(tmp_path), **given)
    assert "told http://here:9 7.0 3" in done.stdout.splitlines()
