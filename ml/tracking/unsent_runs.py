"""Runs that W&B does not have whole yet. They stay on disk, and W&B's own `wandb sync` sends them after a later step.

W&B's client records each run in a folder below `wandb`. The name of our file in that folder says what becomes of it:

unsent.json    W&B does not have all of the run yet
refused.json   W&B refused a part of it twice; it is not sent until a person renames the file to unsent.json
offline.json   it was recorded with WANDB_MODE=offline, and is not sent by us

The lock beside the folder is held while the run goes on, and by the process that sends it.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ml.registry.wandb.client import is_refusal
from ml.store.files import write_whole
from ml.store.locks import try_lock
from ml.tracking.expected import Expected, missing
from ml.tracking.promotion_report import PromotionReport

CONNECT_SECONDS = 10
_UNSENT, _REFUSED, _OFFLINE = "unsent.json", "refused.json", "offline.json"
_REPORT = "report.json"
_COMMAND = Path(__file__).with_name("wandb_command.py")
# Where W&B's client leaves the address of its service; with it, the command would use the service of this step.
_SERVICE = "WANDB_SERVICE"
# The command would show the name of this machine and the path of its program.
_NAMES = {"WANDB_MODE": "online", "WANDB_PROGRAM": "ml", "WANDB_HOST": "sincere"}
_LONGEST_REASON = 200

logger = logging.getLogger(__name__)


class Unsent(Exception):
    """Why a run waits on."""


class RecordedRun:
    """A run in a folder of W&B's client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = folder.with_name(f"{folder.name}.lock")

    def expect(self, expected: Expected, *, offline: bool = False) -> None:
        """Keep what W&B must have in the end."""
        write_whole(self.folder / (_OFFLINE if offline else _UNSENT), json.dumps(asdict(expected)))

    def ask_for(self, report: PromotionReport) -> None:
        """Keep what a report is to be written of, once W&B has the run."""
        write_whole(self.folder / _REPORT, report.to_json())

    def mark_sent(self) -> None:
        """Leave the mark that `wandb sync` leaves; `run.finish` leaves none."""
        for recording in self.folder.glob("*.wandb"):
            recording.with_suffix(".wandb.synced").touch()

    def deliver(self, api: Any, deadline: float) -> None:
        """Bring W&B what it lacks, and remove the folder; raises Unsent, or the client's errors, if the run waits on.

        Of a run that was sent before, what W&B still refuses is named, and the run set aside.
        """
        mark = self.folder / _UNSENT
        os.utime(mark)  # next time those go first that have waited longer
        expected = Expected(**json.loads(mark.read_text(encoding="utf-8")))
        sent_before = any(self.folder.glob("*.wandb.synced"))
        if not any(recording.stat().st_size for recording in self.folder.glob("*.wandb")):
            shutil.rmtree(self.folder, ignore_errors=True)  # the process was killed before there was anything
            return
        if not sent_before or missing(expected, api):
            _sync(self.folder, deadline)
            self.mark_sent()
        refused = missing(expected, api) or self._refused_report()
        if not refused:
            shutil.rmtree(self.folder, ignore_errors=True)
        elif sent_before:
            self._set_aside(f"W&B did not take {', '.join(refused)} of the run {expected.name}")
        else:
            raise Unsent(f"W&B did not take {', '.join(refused)} of the run {expected.name}")

    def _refused_report(self) -> Sequence[str]:
        """Write the report if one was asked for; raises the client's errors but a refusal."""
        try:
            with suppress(FileNotFoundError):
                PromotionReport.from_json((self.folder / _REPORT).read_text(encoding="utf-8")).write_once()
        except Exception as error:
            if not is_refusal(error):
                raise
            return ["the report"]
        return []

    def _set_aside(self, what: str) -> None:
        (self.folder / _UNSENT).rename(self.folder / _REFUSED)
        logger.warning(
            "%s, which stays whole in wandb/%s: see that the key may write runs, artifacts and reports there, rename"
            " %s in that folder to %s, and the next step sends it",
            what,
            self.folder.name,
            _REFUSED,
            _UNSENT,
        )


def send_unsent(folder: Path, deadline: float) -> Sequence[str]:
    """Send the runs below a folder that wait, until `deadline`, by the monotonic clock; gives why others wait on.

    A run that another process holds is passed over. The run goes first that has waited longest since it was tried.
    """
    import wandb

    marks = sorted(folder.glob(f"*run-*/{_UNSENT}"), key=lambda path: path.stat().st_mtime)
    try:
        api = wandb.Api(timeout=CONNECT_SECONDS) if marks else None
    except Exception as error:
        return [reason(error)] * len(marks)
    reasons = []
    for mark in marks:
        run = RecordedRun(mark.parent)
        try:
            run.lock.touch()
            with try_lock(run.lock) as free:
                if free and mark.exists():
                    run.deliver(api, deadline)
        except Exception as error:
            reasons.append(reason(error))
    return reasons


def reason(error: Exception) -> str:
    """The kind of error, and what ours and W&B's own say: others may name folders of this machine."""
    if isinstance(error, Unsent):
        return str(error)
    said = str(error).partition("\n")[0][:_LONGEST_REASON]
    return f"{type(error).__name__}: {said}" if type(error).__module__.startswith("wandb.") else type(error).__name__


def _sync(folder: Path, deadline: float) -> None:
    """Run `wandb sync`, which has no time limit of its own; raises Unsent if it did not end in time.

    The key is in its environment only. It has a service of W&B's of its own, and ends with this process.
    """
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise Unsent("there was no time to send it")
    how = ["sync", "--include-online", "--include-synced", str(folder)]
    logs = {"WANDB_DIR": str(folder)}  # they go with the run
    with subprocess.Popen(  # noqa: S603, W&B's own command
        [sys.executable, "-P", str(_COMMAND), *how],
        env={name: value for name, value in os.environ.items() if name != _SERVICE} | _NAMES | logs,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as command:
        try:
            command.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Unsent("there was no time to send it all") from None
        finally:
            command.kill()
