import subprocess
import sys
import time
from pathlib import Path

import psutil
import wandb

from ml.store.locks import locked
from ml.tracking.expected import Expected
from ml.tracking.unsent_runs import RecordedRun, send_unsent

PROJECT = Path(__file__).parents[2]

SENDER = """
import sys, time
from pathlib import Path
from ml.tracking.unsent_runs import send_unsent
send_unsent(Path(sys.argv[1]), time.monotonic() + 600)
"""


def record(home, run_id="abcdef12"):
    """A run that waits to be sent."""
    settings = wandb.Settings(mode="offline", silent=True, root_dir=str(home))
    with wandb.init(entity="acme", project="quora", id=run_id, settings=settings) as run:
        run.log({"loss": 0.5})
    recorded = RecordedRun(Path(run.settings.sync_dir))
    recorded.expect(Expected(id=run_id, name="train week-1", entity="acme", project="quora", ended=True))
    return recorded


def within_a_minute(found):
    for _ in range(600):
        if result := found():
            return result
        time.sleep(0.1)
    raise AssertionError("not within a minute")


def command_and_service(step):
    """The process of W&B's command, and the service that it began."""
    for child in psutil.Process(step).children():
        if "sync" in child.cmdline() and child.children():
            return child, *child.children()
    return None


def has_ended(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_process_that_is_killed_while_it_sends_leaves_no_other_behind_and_a_later_one_sends(wandb_server, tmp_path):
    record(tmp_path)
    wandb_server.fail("file_stream", status=500)
    with subprocess.Popen([sys.executable, "-c", SENDER, str(tmp_path / "wandb")], cwd=PROJECT) as step:
        command, service = within_a_minute(lambda: command_and_service(step.pid))
        step.kill()

    within_a_minute(lambda: has_ended(command) and has_ended(service))
    wandb_server.mend()
    assert send_unsent(tmp_path / "wandb", time.monotonic() + 60) == []
    assert [run.history[0]["loss"] for run in wandb_server.state.runs.values()] == [0.5]


def test_a_run_that_goes_on_or_is_being_sent_is_passed_over(wandb_server, tmp_path):
    with locked(record(tmp_path).lock, waiting="waiting"):
        assert send_unsent(tmp_path / "wandb", time.monotonic() + 60) == []

    assert wandb_server.state.runs == {}


def test_sending_ends_when_its_time_is_over(wandb_server, tmp_path):
    record(tmp_path)
    wandb_server.fail("file_stream", status=500)

    assert send_unsent(tmp_path / "wandb", time.monotonic() + 5) == ["there was no time to send it all"]
    assert [child for child in psutil.Process().children() if "sync" in child.cmdline()] == []
