"""Airflow's command line in a process that has imported it, for tests of what its commands and its parts do.

`forked_airflow` gives a program `airflow`; see tests/forked_python.py, whose server runs `preload` before it forks.
Importing Airflow takes two seconds of every process, the API by which tasks are run five more to be made, and the rest
of the API server two. None of them starts a thread or opens a database. After the fork Airflow reads its settings again
and begins; a setting that it reads only while it is imported must be the same for the command, save those of
`_give_anew`.
"""

import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from runpy import run_module
from typing import Any
from unittest.mock import patch

from tenacity import stop_after_attempt, wait_random_exponential

from tests.forked_python import forked_python

_MODULES = (
    *("airflow.cli.commands.pool_command", "airflow.cli.commands.dag_command", "airflow.cli.commands.task_command"),
    *("airflow.cli.commands.api_server_command", "airflow.cli.commands.dag_processor_command"),
    *("airflow.cli.commands.scheduler_command", "airflow.cli.commands.triggerer_command"),
    *("airflow.api_fastapi.core_api.routes.public", "airflow.api_fastapi.core_api.routes.ui"),
    *("airflow.utils.db", "airflow.providers.standard.operators.hitl"),
    *("celery.bin.worker", "flask_appbuilder", "kombu.transport.redis", "psycopg2"),
)
_AS_LIBRARY = "_AIRFLOW__AS_LIBRARY"  # Airflow is imported, and does not begin
_GIVEN_ANEW = {
    "api.base_url",
    "workers.execution_api_retries",
    "workers.execution_api_retry_wait_max",
    "workers.execution_api_timeout",
}  # see _give_anew
_read: list[tuple[Any, ...]] = []


@contextmanager
def forked_airflow() -> Iterator[str]:
    """Yield the program's path; its server ends with the context."""
    words = ["-c", "from tests.forked_airflow import run; run()"]
    with forked_python("tests.forked_airflow:preload", name="airflow", words=words) as program:
        yield program


def quick_make(folder: Path, *, python: str) -> list[str]:
    """Return a `make` with this Python and an Airflow that waits for no import; the folder has these programs then."""
    (folder / "airflow").symlink_to(os.environ["FORKED_AIRFLOW"])
    ready = f'[ "$*" != "-m scripts.ready" ] || exec {shlex.quote(os.environ["FORKED_AIRFLOW"])} "$@"'
    (folder / "python").write_text(f'#!/bin/sh\n{ready}\nexec {shlex.quote(python)} "$@"\n')
    (folder / "python").chmod(0o755)
    (folder / "uv").touch()
    return ["make", "--assume-old=.venv/installed-all", "--eval", f"override BIN := {folder}"]


def preload() -> None:
    """Import Airflow and make its API, and keep which settings were read meanwhile."""
    with patch.dict(os.environ, {_AS_LIBRARY: "1"}), warnings.catch_warnings(action="ignore"):
        parser = type(import_module("airflow.configuration").conf).__mro__[1]
        get = parser.get

        def noted(self: Any, section: str, key: str, **how: Any) -> Any:
            value = get(self, section, key, **how)
            _read.append((section, key, how, value))
            return value

        with patch.object(parser, "get", noted):
            for module in _MODULES:
                import_module(module)
            of_tasks = import_module("airflow.api_fastapi.execution_api.app")
            api = of_tasks.create_task_execution_api_app()
            api._cadwyn_initialize()

    def made_before(lifespan: Any = api.router.lifespan_context) -> Any:
        api.router.lifespan_context = lifespan
        return api

    for module in (of_tasks, import_module("airflow.api_fastapi.app")):
        module.create_task_execution_api_app = made_before


def run() -> None:
    """Run the command line of this process in its environment; `-m MODULE` is one that runs commands of Airflow."""
    _read_settings()
    import_module("airflow.settings").initialize()
    if sys.argv[1:2] == ["-m"]:
        run_module(sys.argv[2], run_name="__main__")
    else:
        sys.exit(import_module("airflow.__main__").main())


def _read_settings() -> None:
    """Give all that Airflow holds of its settings the values of this environment."""
    of_airflow, of_tasks = map(import_module, ("airflow.configuration", "airflow.sdk.configuration"))
    settings = import_module("airflow.settings")
    settings.AIRFLOW_HOME = of_airflow.AIRFLOW_HOME = of_airflow.get_airflow_home()
    of_airflow.AIRFLOW_CONFIG = of_airflow.get_airflow_config(of_airflow.AIRFLOW_HOME)
    for module in (of_airflow, of_tasks):
        vars(module.conf).update(vars(module.initialize_config()))
    of_airflow.secrets_backend_list = of_airflow.initialize_secrets_backends()
    import_module("airflow.serialization.serialized_objects").DAGS_FOLDER = of_airflow.conf.get("core", "dags_folder")
    _give_anew(of_airflow.conf)
    changed = {
        f"{section}.{key}" for section, key, how, value in _read if of_airflow.conf.get(section, key, **how) != value
    } - _GIVEN_ANEW
    assert not changed, f"Airflow reads these settings while it is imported: {sorted(changed)}"


def _give_anew(conf: Any) -> None:
    """Set what modules of Airflow's parts have kept of settings that differ from one running Airflow to another."""
    import_module("airflow.api_fastapi.app").API_BASE_URL = conf.get("api", "base_url", fallback="")
    client = import_module("airflow.sdk.api.client")
    client.API_TIMEOUT = conf.getfloat("workers", "execution_api_timeout")
    retry = client.Client.request.retry
    retry.stop = stop_after_attempt(conf.getint("workers", "execution_api_retries"))
    retry.wait = wait_random_exponential(
        min=client.API_RETRY_WAIT_MIN, max=conf.getfloat("workers", "execution_api_retry_wait_max")
    )
