import os
import signal

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
