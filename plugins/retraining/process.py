"""A step's process: its lines go to the task's log as they come, and it ends with all that it started."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path


class StepProcess:
    """One command in a session of its own, so that a signal to its group reaches its children too."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603, our own command, without a shell
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )

    def follow(self, tell: Callable[[str], object]) -> int:
        """Tell each line until the process ends; gives its status, negative for the signal that killed it."""
        assert self._process.stdout
        for line in self._process.stdout:
            tell(line.rstrip())
        self._process.stdout.close()  # not after an interruption: a step that is told to end may still write
        return self._process.wait()

    def terminate(self) -> None:
        """Ask the process and its children to end."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
