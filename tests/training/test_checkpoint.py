import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from ml.config import Config, TrainConfig
from ml.store import Store
from ml.training.checkpoint import open_checkpoints, training_key

HOLD_THE_LOCK = """
import sys
from pathlib import Path
from ml.store import Store
with Store(Path(sys.argv[1])).lock("training", waiting=""):
    print("held", flush=True)
    sys.stdin.read()
"""


def make_trainer() -> SimpleNamespace:
    """Make what a checkpoint saves: a classifier with a single weight, and its optimizer."""
    classifier = tf_keras.Sequential([tf_keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    classifier.build((None, 1))
    runtime = SimpleNamespace(precision="float32", strategy=tf.distribute.get_strategy())
    return SimpleNamespace(
        classifier=classifier, optimizer=tf_keras.optimizers.legacy.Adam(0.5), runtime=runtime, made=0
    )


def make_steps(trainer: SimpleNamespace, steps: int) -> None:
    for _ in range(steps):
        gradients = [tf.ones_like(weight) for weight in trainer.classifier.weights]
        trainer.optimizer.apply_gradients(zip(gradients, trainer.classifier.weights, strict=True))
        trainer.made += 1


def weight_of(trainer: SimpleNamespace) -> float:
    return float(trainer.classifier.get_weights()[0].item())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def open_some(store: Store, trainer: SimpleNamespace, key: str = "a", minutes: float = 10):
    return open_checkpoints(store, key, trainer, minutes=minutes)


class Killed(Exception):
    """Ends a training in place of a signal."""


def leave_checkpoints(store: Store, *steps: int, keep: tuple[int, ...] = ()) -> float:
    """Kill a training after its last checkpoint, and return its weight."""
    trainer = make_trainer()
    with pytest.raises(Killed), open_some(store, trainer) as checkpoints:
        for step in steps:
            make_steps(trainer, step - trainer.made)
            checkpoints.save(step, {"at": step}, keep=keep)
        raise Killed
    return weight_of(trainer)


def test_a_training_goes_on_where_the_last_checkpoint_was_with_its_moments(store):
    weight = leave_checkpoints(store, 2, 5)
    uninterrupted, resumed = make_trainer(), make_trainer()
    make_steps(uninterrupted, 7)
    with open_some(store, resumed) as checkpoints:
        assert checkpoints.restore() == {"at": 5}
        assert weight_of(resumed) == weight
        make_steps(resumed, 2)
    assert int(resumed.optimizer.iterations) == 7
    assert weight_of(resumed) == weight_of(uninterrupted)


def test_only_the_last_checkpoint_stays_and_those_to_keep(store):
    leave_checkpoints(store, 1, 2, 3, 4, keep=(2,))
    assert sorted(path.name for path in store.open("checkpoints", "a").iterdir()) == ["2", "4"]
    assert store.names("checkpoints") == ["a"]


def test_the_weights_of_a_kept_step_come_back(store):
    weight = leave_checkpoints(store, 2)
    trainer = make_trainer()
    with open_some(store, trainer) as checkpoints:
        checkpoints.restore_weights(2)
    assert weight_of(trainer) == weight


def test_a_training_that_comes_to_its_end_leaves_nothing(store):
    with open_some(store, make_trainer()) as checkpoints:
        checkpoints.save(0, {}, keep=())
    assert store.names("checkpoints") == []


def test_the_checkpoint_of_another_training_is_removed_and_not_used(store):
    leave_checkpoints(store, 1)
    with open_some(store, make_trainer(), key="b") as checkpoints:
        assert checkpoints.restore() == {}
        assert store.names("checkpoints") == []


@pytest.mark.parametrize("file", ["state.index", "state.data-00000-of-00001"])
@pytest.mark.parametrize("damage", ["cut off", "changed", "gone"])
def test_a_damaged_checkpoint_is_one_warning_and_a_new_start(store, tmp_path, caplog, file, damage):
    leave_checkpoints(store, 3)
    path = store.open("checkpoints", "a") / "3" / file
    content = path.read_bytes()
    middle = len(content) // 2
    match damage:
        case "cut off":
            path.write_bytes(content[:middle])
        case "changed":
            path.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
        case "gone":
            path.unlink()
    trainer = make_trainer()
    with open_some(store, trainer) as checkpoints:
        assert checkpoints.restore() == {}
        assert weight_of(trainer) == 1.0
        warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert [warning.partition(" (")[0] for warning in warnings] == ["a checkpoint is damaged"]
        assert store.names("checkpoints") == []


def test_a_checkpoint_is_due_when_the_last_one_is_old(store):
    with open_some(store, make_trainer(), minutes=0.5 / 60) as checkpoints:
        assert not checkpoints.due()
        time.sleep(0.6)
        assert checkpoints.due()
        checkpoints.save(0, {}, keep=())
        assert not checkpoints.due()


def test_another_training_waits_until_this_one_ends(store, tmp_path, caplog):
    caplog.set_level("INFO", logger="ml")
    command = [sys.executable, "-c", HOLD_THE_LOCK, os.fspath(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        end = subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {holder.pid}"])
        with open_some(store, make_trainer()):
            assert "waiting for another training in this store to end" in caplog.text
        end.wait()


@pytest.mark.parametrize(
    ("config", "splits", "weight"),
    [
        (Config(train=TrainConfig(dropout=0.2)), "1" * 64, 1.0),
        (Config(), "2" * 64, 1.0),
        (Config(), "1" * 64, 2.0),
    ],
    ids=["setting", "splits", "initial weights"],
)
def test_whatever_makes_a_training_another_one_is_in_the_key(config, splits, weight):
    other = make_trainer()
    other.classifier.set_weights([np.full((1, 1), weight, np.float32)])
    key = training_key(Config(), "1" * 64, make_trainer())
    assert training_key(config, splits, other) != key
    assert training_key(Config(), "1" * 64, make_trainer()) == key
