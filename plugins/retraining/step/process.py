"""The process of a step: each line of its output goes to the task's log; it is ended together with its children.

It has a folder of its own for temporary files, since a step that is killed cannot remove what its libraries left there.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

_SECONDS_TO_END = 10


class StepProcess:
    """A command in its own session, so that a signal to its process group reaches its children too.

    Raises OSError if the command cannot be started.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path) -> None:
        self._temporary = TemporaryDirectory(prefix="step-", ignore_cleanup_errors=True)
        try:
            self._process = subprocess.Popen(  # noqa: S603, our own command, without a shell
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**environment, "TMPDIR": self._temporary.name},
                cwd=folder,
                text=True,
                errors="backslashreplace",
                start_new_session=True,
            )
        except OSError:
            self._temporary.cleanup()
            raise

    def follow(self, tell: Callable[[str], object]) -> int:
        """Tell each line until the process ends; return its exit status, or minus the signal that killed it."""
        assert self._process.stdout
        with self._temporary:
            for line in self._process.stdout:
                tell(line.rstrip())
            self._process.stdout.close()  # not after an interruption, since the step may still write while it ends
            return self._process.wait()

    def end(self) -> None:
        """Ask the process and its children to end, and kill them if they do not within some seconds."""
        self.terminate()
        try:
            self._process.communicate(timeout=_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()

    def terminate(self) -> None:
        """Ask the process and its children to end."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
