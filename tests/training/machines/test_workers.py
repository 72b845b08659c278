"""Two machines, here two processes on loopback, train one model; one of them is killed in the middle.

python -m tests.training.machines.test_workers 4      the same with four
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.config import TrainConfig
from ml.errors import ConfigError
from ml.training.machines.workers import Alone, Workers, find_workers
from ml.training.train import _grown
from tests.tiny import ONE_LAYER, WORDS, write_tiny_encoder

PROJECT = Path(__file__).parents[3]
TWO = ("first:2222", "second:2222")

# The script forks before TensorFlow is used.
TOGETHER = """
import json, os, signal, socket, sys
from pathlib import Path
import numpy as np
from ml.config import TrainConfig
from ml.training import train as step
from ml.training.checkpoint import Checkpoints
from ml.training.training_step import Trainer
from tests.training.splits import make_run, store_splits
from tests.training.test_train import make_config

SETTINGS = TrainConfig(epochs=2, batch_size=8, learning_rate=1e-3, dropout=0.0, precision="float32")

def die_after(steps):
    made = Trainer.update
    Trainer.update = lambda self, *a: made(self, *a) if self.steps() < steps else os.kill(os.getpid(), signal.SIGKILL)

def keep_weights(to):
    write = step._write_training
    def kept(folder, fitted, trainer):
        np.savez(to, *trainer.classifier.get_weights(), losses=[epoch.loss for epoch in fitted.epochs])
        write(folder, fitted, trainer)
    step._write_training = kept

def one(home, number, addresses, *, dies_after=None):
    child = os.fork()
    if child:
        return child
    try:
        if dies_after:
            die_after(dies_after)
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}
        os.environ["TF_CONFIG"] = json.dumps(task)
        run = make_run(home)
        config, splits = make_config(sys.argv[1], SETTINGS), store_splits(run.store)
        keep_weights(home / f"weights-{number}.npz")
        step.train(config, run, splits) if number == 0 else step.join(config, run, splits, number)
    except BaseException as error:
        print(number, type(error).__name__, flush=True)
        os._exit(1)
    os._exit(0)

def together(home, workers, **last):
    Checkpoints.due = lambda self: bool(last)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(workers)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    children = [one(home, number, addresses, **(last if number == workers - 1 else {})) for number in range(workers)]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

folder, workers = Path(sys.argv[2]), int(sys.argv[3])
print("alone", together(folder / "alone", 1), flush=True)
print("killed", together(folder / "together", workers, dies_after=5), flush=True)
kept = (folder / "together/store/checkpoints").glob("*/[0-9]*")
print("kept", max(int(path.name) for path in kept) in (4, 5), flush=True)
print("again", together(folder / "together", workers), flush=True)
"""


def test_two_machines_train_what_one_does_and_go_on_after_one_was_killed(tmp_path, python):
    train_together(python, tmp_path, 2)


def train_together(python, folder, workers):
    encoder = _without_dropout(write_tiny_encoder(folder / "encoder", WORDS, sizes=ONE_LAYER))
    command = [python, "-c", TOGETHER, str(encoder), str(folder), str(workers)]
    done = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True)
    said = [line for line in done.stdout.splitlines() if "UnavailableError" not in line]
    killed, again = [*[1] * (workers - 1), -9], [0] * workers
    assert said == ["alone [0]", f"killed {killed}", "kept True", f"again {again}"], done.stderr[-2000:]
    one, all_of_them = np.load(folder / "alone" / "weights-0.npz"), np.load(folder / "together" / "weights-0.npz")
    assert max(float(np.abs(one[name] - all_of_them[name]).max()) for name in one) < 1e-5
    assert [path.name for path in (folder / "together").glob("*.npz")] == ["weights-0.npz"]
    assert len(list((folder / "together" / "store" / "models").iterdir())) == 1
    assert list((folder / "together" / "store" / "checkpoints").glob("*/[0-9]*")) == []


def _without_dropout(encoder: Path) -> Path:
    """Each device drops other parts than one device would."""
    settings = json.loads((encoder / "config.json").read_text())
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (encoder / "config.json").write_text(json.dumps(settings | none))
    return encoder


def test_batch_and_rate_grow_with_the_devices_if_the_settings_say_so():
    settings = TrainConfig(batch_size=32, learning_rate=1e-4)
    assert _grown(settings, 4) == settings
    grown = _grown(replace(settings, grow_batch=True), 4)
    assert (grown.batch_size, grown.learning_rate) == (128, pytest.approx(2e-4))


@pytest.mark.parametrize("addresses", [(), ("only:2222",)])
def test_without_others_a_machine_trains_alone(addresses):
    assert find_workers(addresses, 0, {}) == Alone()


def test_of_the_machines_in_the_settings_the_first_leads():
    first, second = find_workers(TWO, 0, {}), find_workers(TWO, 1, {})
    assert first == Workers(cluster={"worker": TWO}, role="worker", index=0)
    assert (first.leads, second.leads) == (True, False)


def _variable(cluster, role="worker", index=0):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": role, "index": index}})}


@pytest.mark.parametrize(("role", "index", "number"), [("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)])
def test_a_chief_leads_where_the_variable_names_one(role, index, number):
    environment = _variable({"chief": ["first:1"], "worker": ["second:1", "third:1"]}, role, index)
    found = find_workers(("other:1", "others:1"), 9, environment)
    assert (found.machines, found.number, found.leads) == (3, number, number == 0)


def test_a_cluster_of_one_is_this_machine_alone():
    assert find_workers((), 0, _variable({"worker": ["only:1"]})) == Alone()


@pytest.mark.parametrize(
    "environment",
    [
        {"TF_CONFIG": "worker 1"},
        {"TF_CONFIG": "{}"},
        _variable({"worker": ["a:1", "b:1"]}, index=2),
        _variable({"worker": ["a:1", "b:1"]}, role="chief"),
        _variable({"worker": ["a:1"], "ps": ["b:1"]}),
        _variable({"chief": ["a:1", "b:1"], "worker": ["c:1"]}, role="chief"),
    ],
)
def test_a_variable_that_is_not_as_tensorflow_wants_it_is_refused(environment):
    with pytest.raises(ConfigError, match="TF_CONFIG"):
        find_workers((), 0, environment)


def test_a_worker_that_the_settings_do_not_have_is_refused():
    with pytest.raises(ConfigError, match="no worker 2 among 2"):
        find_workers(TWO, 2, {})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        train_together(sys.executable, Path(folder), int(sys.argv[1]))
