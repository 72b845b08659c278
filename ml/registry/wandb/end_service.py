"""End the service, the process that W&B's client starts beside ours."""

import threading
from contextlib import suppress

import psutil

_NAME = "wandb-core"
_SECONDS = 10.0


def end_soon(seconds: float = _SECONDS) -> None:
    """Kill W&B's service after `seconds` if it still runs; call this when our own process is about to end.

    At exit, the client waits for the service without limit. After a request that timed out, it tells the service to
    cancel the request, and then to end. The service of wandb 0.31.0 may close the connection before it reads the second
    message; then it never ends.
    """
    timer = threading.Timer(seconds, _kill_service)
    timer.daemon = True
    timer.start()


def _kill_service() -> None:
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if child.name() == _NAME:
                child.kill()
