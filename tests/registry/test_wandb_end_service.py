"""A process ends even if W&B's service hangs."""

import os
import subprocess
import sys

import psutil

_SERVICE_THAT_STAYS = """
import psutil
import wandb
from ml.registry.wandb.end_service import end_soon

wandb.setup()
(service,) = [child for child in psutil.Process().children() if child.name() == "wandb-core"]
service.suspend()
print(service.pid, flush=True)
end_soon(1.0)
"""


def test_a_service_that_stays_keeps_no_process():
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    ended = subprocess.run(
        [sys.executable, "-c", _SERVICE_THAT_STAYS],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,  # without the service that another test of this process may have begun
    )
    assert ended.returncode == 0, ended.stderr
    assert not psutil.pid_exists(int(ended.stdout))
