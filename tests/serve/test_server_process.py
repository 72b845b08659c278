import os
import signal

import psutil
import pytest

from ml.errors import ServingError
from ml.serve.server_process import serve


def test_a_server_that_dies_between_two_questions_is_an_error_that_says_so(tmp_path):
    with pytest.raises(ServingError, match=r"status -9 \(killed by a signal\)"), serve(tmp_path) as server:
        (process,) = (child for child in psutil.Process().children() if "server.py" in " ".join(child.cmdline()))
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        server.ask(["why"])
