"""A process ends even if W&B's service hangs."""

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
    ended = subprocess.run(
        [sys.executable, "-c", _SERVICE_THAT_STAYS], check=False, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    assert not psutil.pid_exists(int(ended.stdout))
