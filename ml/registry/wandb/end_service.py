"""The process that W&B's client starts beside ours, and what becomes of it in the end."""

import threading
from contextlib import suppress

import psutil

_NAME = "wandb-core"
_SECONDS = 10.0


def end_soon(seconds: float = _SECONDS) -> None:
    """Call when this process is about to end: what is left of W&B's service after so many seconds is killed.

    The client waits for it at exit without limit. Told to give up a request and to end at once, as after a request
    that timed out, the service of wandb 0.31.0 may hang up before it reads the latter, and stays.
    """
    timer = threading.Timer(seconds, _kill_service)
    timer.daemon = True
    timer.start()


def _kill_service() -> None:
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if child.name() == _NAME:
                child.kill()
