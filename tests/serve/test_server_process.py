import os
import signal
import subprocess
import sys

import psutil
import pytest
import tensorflow as tf

from ml.config import PROJECT
from ml.errors import OutOfResources
from ml.serve.server_process import serve


def test_a_server_that_dies_between_two_questions_was_killed_and_may_be_asked_again(tmp_path):
    with pytest.raises(OutOfResources, match="killed by signal 9"), serve(tmp_path) as server:
        (process,) = (child for child in psutil.Process().children() if "server.py" in " ".join(child.cmdline()))
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        server.ask(["why"])


def test_a_server_takes_no_more_of_a_gpu_than_it_needs_since_two_share_it(tmp_path):
    with serve(tmp_path):
        (process,) = (child for child in psutil.Process().children() if "server.py" in " ".join(child.cmdline()))
        assert process.environ()["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"


# The server's first answer is replaced by what TensorFlow says.
SAY_TF32 = """
import os, runpy, sys
def answer(*_, **__):
    import tensorflow as tf
    os.write(1, str(tf.config.experimental.tensor_float_32_execution_enabled()).encode())
    os._exit(0)
main = runpy.run_path(sys.argv[1])["main"]
main.__globals__["print"] = answer
main(sys.argv[2])
"""


def test_a_server_scores_without_tf32(tmp_path, python):
    score = tf.function(lambda texts: {"probability": tf.zeros(tf.shape(texts))})
    module = tf.Module()
    module.score = score.get_concrete_function(tf.TensorSpec([None], tf.string, name="texts"))
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.score})
    command = [python, "-c", SAY_TF32, str(PROJECT / "ml" / "serve" / "server.py"), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        print('["why"]', file=server.stdin, flush=True)
        assert server.stdout.read() == "False"


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
