import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import wandb

from ml.tracking.pending import PendingRuns, Sending, Unsent

PROJECT = Path(__file__).parents[2]

STEP = """
import sys, time
from pathlib import Path
import wandb
from ml.tracking.pending import PendingRuns, Sending
mark = PendingRuns(Path(sys.argv[1])).begin("abcdef12")
settings = wandb.Settings(silent=True, x_transaction_log_flush_interval=0.1)
run = wandb.init(mode="offline", id="abcdef12", dir=sys.argv[1], settings=settings)
sending = Sending(Path(run.settings.sync_dir), mark, live=True)
time.sleep(600)
"""


def _within_a_minute(found):
    for _ in range(600):
        if result := found():
            return result
        time.sleep(0.1)
    raise AssertionError("not within a minute")


def _sender_and_service(step):
    """The process of W&B's command, and the service that it began."""
    for child in psutil.Process(step).children():
        if not _has_ended(child) and "sync" in child.cmdline() and child.children():
            return child, *child.children()
    return None


def _has_ended(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_sending_that_is_cut_off_ends_with_the_service_that_it_began(wandb_server, tmp_path):
    run = wandb.init(mode="offline", dir=tmp_path, settings=wandb.Settings(silent=True))
    with (tmp_path / "mark").open("w") as mark:
        sending = Sending(Path(run.settings.sync_dir), mark, live=True)
        _, service = _within_a_minute(lambda: _sender_and_service(os.getpid()))
        with pytest.raises(Unsent):
            sending.wait(deadline=0)
    run.finish()

    assert _has_ended(service)


def test_a_step_that_is_killed_leaves_no_sender_behind_and_is_sent_later(wandb_server, tmp_path):
    with subprocess.Popen([sys.executable, "-c", STEP, str(tmp_path)], cwd=PROJECT) as step:
        sender, service = _within_a_minute(lambda: _sender_and_service(step.pid))
        step.kill()

    _within_a_minute(lambda: _has_ended(sender) and _has_ended(service))
    assert PendingRuns(tmp_path).send(deadline=time.monotonic() + 60) == []
    assert [run.place.name for run in wandb_server.state.runs.values()] == ["abcdef12"]
