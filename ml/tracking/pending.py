"""Runs on disk that W&B does not have whole yet: each has a mark `wandb/<id>.pending` beside its own folder.

They are sent by W&B's own `wandb sync`, in a process that can be ended: no step waits for the network without a limit.
The mark is locked while its run goes on, and by whoever sends it; the system lets go of the lock when a process ends,
however it ends. A run that W&B refused twice has a mark `<id>.refused` instead, and is not sent until a person renames
that. Runs that were recorded offline on purpose bear no mark.
"""

import fcntl
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from ml.registry.wandb.client import is_refusal
from ml.tracking.recorded import RecordedRun
from ml.tracking.trouble import reason

_SENDER = Path(__file__).with_name("sender.py")
_PENDING, _REFUSED = ".pending", ".refused"
# Where W&B's client leaves the address of its service, the process that writes and sends for it.
_SERVICE = "WANDB_SERVICE"
# The names that W&B would show otherwise: this machine's, and the path of its command.
_NAMES = {"WANDB_MODE": "online", "WANDB_PROGRAM": "ml", "WANDB_HOST": "sincere"}

logger = logging.getLogger(__name__)


class Unsent(Exception):
    """Why a run waits on."""


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

    def send(self, deadline: float) -> Sequence[str]:
        """Send what waits, and write its reports, while there is time; gives why others wait on.

        What has waited longest since it was tried goes first.
        """
        marks = sorted(self._folder.glob(f"*{_PENDING}"), key=lambda path: path.stat().st_mtime)
        reasons = []
        for path in marks:
            with suppress(FileNotFoundError, BlockingIOError), path.open("r+") as mark:
                fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
                try:
                    self._send(path.stem, mark, deadline)
                except Unsent as error:
                    reasons.append(str(error))
                except Exception as error:
                    reasons.append(reason(error))
        return reasons

    def folder_of(self, run_id: str) -> Path:
        """Where the run is recorded; a folder that is not there for one that never began."""
        return next(self._folder.glob(f"offline-run-*-{run_id}"), self._folder / run_id)

    def _send(self, run_id: str, mark: IO[str], deadline: float) -> None:
        """Bring one run to its end here, sent or refused; raises Unsent, or what the client raises."""
        if time.monotonic() >= deadline:
            raise Unsent("there was no time to send it")
        os.utime(mark.fileno())  # next time those go first that had no time now
        run = RecordedRun(self.folder_of(run_id))
        if run.began and (missing := _send(run, mark, deadline)):
            self._refuse(run_id, run, mark, missing)
        else:
            self._settle(run_id)

    def _settle(self, run_id: str) -> None:
        """W&B has all of it: nothing of it stays here."""
        shutil.rmtree(self.folder_of(run_id), ignore_errors=True)
        self._mark(run_id).unlink(missing_ok=True)

    def _refuse(self, run_id: str, run: RecordedRun, mark: IO[str], missing: Sequence[str]) -> None:
        """Raises Unsent the first time; the second time, it stays here whole, and is in nobody's way any more."""
        what = f"W&B did not take {', '.join(missing)} of the run {run.name}"
        if not mark.read():
            mark.write("refused once")
            raise Unsent(what)
        path = self._mark(run_id)
        aside = path.rename(path.with_suffix(_REFUSED))
        logger.warning(
            "%s, which stays whole in wandb/%s: see that the key may write runs, artifacts and reports there, rename"
            " wandb/%s to %s, and the next step sends it",
            what,
            run.folder.name,
            aside.name,
            path.name,
        )

    def _mark(self, run_id: str) -> Path:
        return self._folder / f"{run_id}{_PENDING}"


class Sending:
    """A process that sends the run in a folder; `live` while the run goes on. The key is in its environment only.

    It has a service of W&B's of its own, not the step's: what it began ends with it, and it ends with the step.
    """

    def __init__(self, folder: Path, mark: IO[str], *, live: bool = False) -> None:
        how = ["beta", "sync", "--live", "--no-skip-online", "--yes"] if live else ["sync", "--include-synced"]
        logs = {"WANDB_DIR": str(folder)}  # they go with the run
        self._process = subprocess.Popen(  # noqa: S603, W&B's own command
            [sys.executable, "-P", str(_SENDER), *how, str(folder)],
            env={name: value for name, value in os.environ.items() if name != _SERVICE} | _NAMES | logs,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[mark.fileno()],
        )

    def wait(self, deadline: float) -> None:
        """Until it has sent what W&B took; raises Unsent, and sends no more, if it has not by then."""
        try:
            status = self._process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            self._kill()
            raise Unsent("there was no time to send it all") from None
        finally:
            self._process.communicate()  # its input is closed, too
        if status != 0:
            raise Unsent(f"`wandb sync` ended with status {status}")

    def _kill(self) -> None:
        """End the process with its service, which is in a session of its own."""
        process = psutil.Process(self._process.pid)
        for each in (*process.children(), process):
            with suppress(psutil.NoSuchProcess):
                each.kill()


def _send(run: RecordedRun, mark: IO[str], deadline: float) -> Sequence[str]:
    """Send a run if need be, and write its report; gives what W&B refused."""
    if not run.is_sent or run.missing():
        Sending(run.folder, mark).wait(deadline)
    return run.missing() or _refused_report(run)


def _refused_report(run: RecordedRun) -> Sequence[str]:
    """Write the run's report; raises what the client raises, unless it is a refusal."""
    try:
        run.write_report()
    except Exception as error:
        if not is_refusal(error):
            raise
        return ["the report"]
    return []
