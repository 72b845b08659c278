import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from ml.config import TrainConfig
from ml.store import Store
from ml.store.open import open_store
from ml.training.checkpoint import open_checkpoints, training_key
from tests.places import ADDRESSES

HOLD_THE_LOCK = """
import sys
from pathlib import Path
from ml.store import Store
with Store(Path(sys.argv[1])).lock_of("checkpoints", "a", waiting=""):
    print("held", flush=True)
    sys.stdin.read()
"""


def make_trainer() -> SimpleNamespace:
    """Make what a checkpoint saves: a classifier with a single weight, and its optimizer."""
    classifier = tf_keras.Sequential([tf_keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    classifier.build((None, 1))
    runtime = SimpleNamespace(precision="float32", strategy=tf.distribute.get_strategy(), jit_compile=False, widths=())
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


def open_some(store: Store, trainer: SimpleNamespace, key: str = "a", minutes: float = 10, keep_days: float = 1):
    return open_checkpoints(store, key, trainer, minutes=minutes, keep_days=keep_days)


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


def test_a_training_goes_on_on_another_host_with_the_same_object_store(state_server, tmp_path):
    here, there = (open_store({"SINCERE_STORE": ADDRESSES["s3"]}, tmp_path / home) for home in ("here", "there"))
    weight = leave_checkpoints(here, 2, 5)
    resumed = make_trainer()
    with open_some(there, resumed) as checkpoints:
        assert checkpoints.restore() == {"at": 5}
        assert weight_of(resumed) == weight
    assert state_server.keys("parts/") == state_server.keys("manifests/") == []


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
    assert sorted(path.name for path in store.open("checkpoints", "a").iterdir()) == ["2", "4", "lock"]
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


def test_the_checkpoint_of_another_training_is_kept_and_not_used(store):
    leave_checkpoints(store, 1)
    with open_some(store, make_trainer(), key="b") as checkpoints:
        assert checkpoints.restore() == {}
    with open_some(store, make_trainer()) as checkpoints:
        assert checkpoints.restore() == {"at": 1}


def age(store: Store, key: str, days: float) -> None:
    os.utime(store.open("checkpoints", key), times=(0, time.time() - days * 86_400))


def test_the_checkpoints_of_another_training_go_once_they_are_old(store):
    leave_checkpoints(store, 1)
    age(store, "a", days=2)
    with open_some(store, make_trainer(), key="b", keep_days=3):
        assert set(store.names("checkpoints")) == {"a", "b"}
    with open_some(store, make_trainer(), key="b", keep_days=1):
        assert store.names("checkpoints") == ["b"]


def test_old_checkpoints_stay_while_somebody_trains(store, tmp_path):
    leave_checkpoints(store, 1)
    with lock_held(tmp_path):
        age(store, "a", days=2)
        with open_some(store, make_trainer(), key="b"):
            assert set(store.names("checkpoints")) == {"a", "b"}


def test_a_stray_file_among_the_checkpoints_is_passed_over(store, tmp_path):
    leave_checkpoints(store, 3)
    (tmp_path / "checkpoints" / "stray").write_text("")
    (tmp_path / "checkpoints" / "a" / ".nfs0001").write_text("")
    with open_some(store, make_trainer()) as checkpoints:
        assert checkpoints.restore() == {"at": 3}


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
        assert [path.name for path in store.open("checkpoints", "a").iterdir()] == ["lock"]


def test_a_checkpoint_is_due_when_the_last_one_is_old(store, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("ml.training.checkpoint.time", SimpleNamespace(monotonic=lambda: now[0]))
    with open_some(store, make_trainer(), minutes=15) as checkpoints:
        now[0] += 899
        assert not checkpoints.due()
        now[0] += 1
        assert checkpoints.due()
        checkpoints.save(0, {}, keep=())
        now[0] += 899
        assert not checkpoints.due()


@contextmanager
def lock_held(folder: Path) -> Iterator[subprocess.Popen]:
    """A process that trains with the key `a`."""
    command = [sys.executable, "-c", HOLD_THE_LOCK, os.fspath(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        yield holder


def test_the_same_training_waits_until_the_other_ends_and_goes_on_from_there(store, tmp_path, caplog):
    caplog.set_level("INFO", logger="ml")
    leave_checkpoints(store, 3)
    with lock_held(tmp_path) as holder:
        end = subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {holder.pid}"])
        with open_some(store, make_trainer()) as checkpoints:
            assert "waiting for another process that trains the same to end" in caplog.text
            assert checkpoints.restore() == {"at": 3}
        end.wait()


def test_another_training_does_not_wait(store, tmp_path, caplog):
    caplog.set_level("INFO", logger="ml")
    with lock_held(tmp_path), open_some(store, make_trainer(), key="b"):
        assert "waiting" not in caplog.text


ROWS = ("1" * 64, "2" * 64)


@pytest.mark.parametrize(
    ("settings", "rows", "encoder", "weight", "replaced"),
    [
        (TrainConfig(dropout=0.2), ROWS, "3" * 64, 1.0, {}),
        (TrainConfig(), ROWS[::-1], "3" * 64, 1.0, {}),
        (TrainConfig(), ROWS, "4" * 64, 1.0, {}),
        (TrainConfig(), ROWS, "3" * 64, 2.0, {}),
        (TrainConfig(), ROWS, "3" * 64, 1.0, {"library_versions": lambda: "0"}),
        (TrainConfig(), ROWS, "3" * 64, 1.0, {"code_version": lambda rooms: "0"}),
    ],
    ids=["setting", "rows", "encoder", "initial weights", "libraries", "code"],
)
def test_whatever_makes_a_training_another_one_is_in_the_key(*, settings, rows, encoder, weight, replaced, monkeypatch):
    key = training_key(TrainConfig(), ROWS, "3" * 64, make_trainer())
    for name, value in replaced.items():
        monkeypatch.setattr(f"ml.training.checkpoint.{name}", value)
    other = make_trainer()
    other.classifier.set_weights([np.full((1, 1), weight, np.float32)])
    assert training_key(settings, rows, encoder, other) != key


@pytest.mark.parametrize(
    "settings",
    [TrainConfig(), TrainConfig(checkpoint_minutes=1.0, keep_checkpoints_days=2.0), TrainConfig(precision="float32")],
)
def test_what_decides_no_weight_is_not_in_the_key(settings):
    key = training_key(TrainConfig(), ROWS, "3" * 64, make_trainer())
    assert training_key(settings, ROWS, "3" * 64, make_trainer()) == key
