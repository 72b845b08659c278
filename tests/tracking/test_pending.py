import time
from pathlib import Path

import psutil
import pytest
import wandb

from ml.tracking.pending import Sending, Unsent


def _sender():
    """The process of W&B's command, once it has begun its service; within a minute."""
    for _ in range(600):
        for child in psutil.Process().children():
            if "sync" in child.cmdline() and child.children():
                return child
        time.sleep(0.1)
    raise AssertionError("nothing is sent by a service of its own")


def test_sending_that_is_cut_off_ends_with_the_service_that_it_began(wandb_server, tmp_path):
    run = wandb.init(mode="offline", dir=tmp_path, settings=wandb.Settings(silent=True))
    with (tmp_path / "mark").open("w") as mark:
        sending = Sending(Path(run.settings.sync_dir), mark, live=True)
        (service,) = _sender().children()
        with pytest.raises(Unsent):
            sending.wait(deadline=0)
    run.finish()

    assert not service.is_running() or service.status() == psutil.STATUS_ZOMBIE
