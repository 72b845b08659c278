"""The verdict of a task whose step could not write its own: it was refused, could not start, or was killed."""

import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence

from retraining import PROJECT

_SECONDS = 120

logger = logging.getLogger(__name__)


def tell_end(
    step: str, identity: Sequence[str], error: Mapping[str, str], *, status: int, environment: Mapping[str, str]
) -> None:
    """Write the verdict of a run that ended in this step, in a process that outlives this one.

    `error` says what is wrong, where, and what to do (fix). Logs a warning if the verdict cannot be written.
    """
    said = [f"--{name}={text}" for name, text in error.items()]
    command = [sys.executable, "-m", "ml", "ended", step, *identity, f"--status={status}", *said]
    try:
        subprocess.run(  # noqa: S603, our own command, without a shell
            command,
            cwd=PROJECT,
            env=dict(environment),
            start_new_session=True,
            capture_output=True,
            check=True,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as trouble:
        logger.warning("the run's verdict could not be written (%s)", type(trouble).__name__)
