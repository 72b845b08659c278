"""Ask a process of its own: what keeps threads, connections and settings stays out of Airflow's."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from typing import IO

from ml.errors import ConfigError, RegistryUnavailable, SincereError
from retraining import PROJECT
from retraining.step.environment import allowed, from_connections, store_connections

_LONGEST_SECONDS = 60


def answer_of(
    command: Sequence[str], environment: Mapping[str, str], connections: Mapping[str, Mapping[str, str]]
) -> Sequence[str]:
    """Return the lines that `python -m COMMAND` prints.

    Raises SincereError as the process reports it, RegistryUnavailable for one that does not end in a minute.
    """
    given = allowed(environment) | from_connections({**connections, **store_connections(environment)})
    given |= {"PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}"}
    with TemporaryFile("w+", encoding="utf-8") as output:
        status = _run([sys.executable, "-m", *command], given, output)
        output.seek(0)
        lines = output.read().splitlines()
    if status == 0:
        return lines
    raise _reported(lines)


def unavailable(what: str) -> RegistryUnavailable:
    """Return the error of something that gave no answer."""
    return RegistryUnavailable(what, where="the registry", fix="see that it can be reached from here, then reload")


def _run(command: Sequence[str], environment: Mapping[str, str], output: IO[str]) -> int:
    """Run a process in a session of its own, and end all that it started."""
    process = subprocess.Popen(  # noqa: S603, our own command, without a shell
        command, cwd=PROJECT, env=environment, stdout=output, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return process.wait(timeout=_LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        raise unavailable(f"no answer came within {_LONGEST_SECONDS} seconds") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _reported(lines: Sequence[str]) -> SincereError:
    with suppress(ValueError, IndexError, TypeError):
        what, fix = json.loads(lines[-1])
        return ConfigError(what, where="the registry", fix=fix)
    return unavailable("the process that asked it ended without an answer")
