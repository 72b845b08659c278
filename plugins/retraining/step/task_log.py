"""The file that Airflow's UI shows as a task's log, also for `airflow dags test`, which writes none itself."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk.configuration import conf


class TaskLog:
    """Adds lines to a task's log file, unless Airflow writes one for this try already."""

    def __init__(self, task_instance: Any) -> None:
        folder = Path(conf.get("logging", "base_log_folder")).expanduser()
        self._path = folder / _file_name(task_instance)
        self._airflow_writes = self._path.exists()

    def add(self, line: str, level: str = "info") -> None:
        """Add a line in the form in which Airflow writes its own."""
        if self._airflow_writes:
            return
        entry = {"timestamp": datetime.now(UTC).isoformat(), "event": line, "level": level, "logger": "retraining"}
        with suppress(OSError):  # what the task does matters more than its log
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")


def _file_name(task_instance: Any) -> str:
    """Render Airflow's own template; raises what Jinja raises for one that it cannot read."""
    from jinja2.sandbox import SandboxedEnvironment

    template = SandboxedEnvironment().from_string(conf.get("logging", "log_filename_template"))
    return template.render(ti=task_instance, try_number=task_instance.try_number)
