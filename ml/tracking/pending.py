"""Runs on disk that W&B does not have whole yet: each has a mark `wandb/<id>.pending` beside its own folder.

They are sent by W&B's own `wandb sync`, in a process that can be ended: no step waits for the network without a limit.
The mark is locked while its run goes on, and by whoever sends it; the system lets go of the lock when a process ends,
however it ends. Runs that were recorded offline on purpose bear no mark.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

_SUFFIX = ".pending"
# Where W&B's client leaves the address of its service, the process that writes and sends for it.
_SERVICE = "WANDB_SERVICE"
# The names that W&B would show otherwise: this machine's, and the path of its command.
_NAMES = {"WANDB_MODE": "online", "WANDB_PROGRAM": "ml", "WANDB_HOST": "sincere"}


class PendingRuns:
    """The runs below a folder."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "wandb"

    def begin(self, run_id: str) -> IO[str]:
        """Mark a run; while the mark is open, it is not sent by others."""
        self._folder.mkdir(parents=True, exist_ok=True)
        mark = self._mark(run_id).open("w")
        fcntl.flock(mark, fcntl.LOCK_EX)
        return mark

    def send(self, deadline: float) -> int:
        """Send all that waits, oldest first, until one is not taken in time; gives how many are left."""
        marks = sorted(self._folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime)
        for number, path in enumerate(marks):
            with suppress(FileNotFoundError, BlockingIOError), path.open() as mark:
                fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not Sending(self.folder_of(path.stem), mark).succeeded(deadline):
                    return len(marks) - number
                self.settle(path.stem)
        return 0

    def settle(self, run_id: str) -> None:
        """W&B has all of it: nothing of it stays here."""
        shutil.rmtree(self.folder_of(run_id), ignore_errors=True)
        self._mark(run_id).unlink(missing_ok=True)

    def folder_of(self, run_id: str) -> Path:
        """Where the run is recorded; a folder that is not there for one that never began."""
        return next(self._folder.glob(f"offline-run-*-{run_id}"), self._folder / run_id)

    def _mark(self, run_id: str) -> Path:
        return self._folder / f"{run_id}{_SUFFIX}"


class Sending:
    """A process that sends the run in a folder; `live` while the run goes on. The key is in its environment only.

    It has a service of W&B's of its own, not the step's: what it began ends with it, and it ends with the step.
    """

    def __init__(self, folder: Path, mark: IO[str], *, live: bool = False) -> None:
        self._folder = folder
        how = ["beta", "sync", "--live", "--no-skip-online", "--yes"] if live else ["sync"]
        self._process = subprocess.Popen(  # noqa: S603, W&B's own command
            [sys.executable, "-m", "ml.tracking.sender", *how, str(folder)],
            env={name: value for name, value in os.environ.items() if name != _SERVICE} | _NAMES,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[mark.fileno()],
        )

    def succeeded(self, deadline: float) -> bool:
        """Whether W&B has all of it by then; it is not sent any further."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(deadline - time.monotonic(), 0))
        if self._process.poll() is None:
            self._kill()
        self._process.communicate()  # its input is closed, too
        return not self._folder.is_dir() or any(self._folder.glob("*.wandb.synced"))

    def _kill(self) -> None:
        """End the process with its service, which is in a session of its own."""
        process = psutil.Process(self._process.pid)
        for each in (*process.children(), process):
            with suppress(psutil.NoSuchProcess):
                each.kill()
