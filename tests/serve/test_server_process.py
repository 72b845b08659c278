import os
import signal
import subprocess
import sys

import psutil
import pytest

from ml.errors import OutOfResources
from ml.serve.server_process import serve


def test_a_server_that_dies_between_two_questions_was_killed_and_may_be_asked_again(tmp_path):
    with pytest.raises(OutOfResources, match="killed by signal 9"), serve(tmp_path) as server:
        (process,) = (child for child in psutil.Process().children() if "server.py" in " ".join(child.cmdline()))
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        server.ask(["why"])


SERVE = """
import sys
from pathlib import Path
from ml.serve.server_process import serve
with serve(Path(sys.argv[1])) as server:
    print(server._process.pid, flush=True)
    sys.stdin.read()
"""


def test_a_server_whose_parent_was_killed_ends_although_it_still_loads(tmp_path):
    model = tmp_path / "saved_model"
    model.mkdir()
    os.mkfifo(model / "saved_model.pb")  # never opened for writing: whoever loads the model waits for ever
    command = [sys.executable, "-c", SERVE, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        server = psutil.Process(int(parent.stdout.readline()))
        parent.kill()

    _, alive = psutil.wait_procs([server], timeout=60)
    assert alive == []
