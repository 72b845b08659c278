"""Checkpoints: a killed training resumes from the last one, and ends with the weights of an undisturbed training.

checkpoints/<key>/<steps made>/    classifier, optimizer and progress, as tf.train.Checkpoint writes them
"""

import hashlib
import json
import logging
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from ml.config import Config
from ml.fingerprint import code_version, library_versions, training_digest
from ml.store import Store
from ml.training.training_step import Trainer

logger = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one training, which the store keeps under the training's key; each is whole or absent."""

    def __init__(self, store: Store, key: str, trainer: Trainer, *, minutes: float) -> None:
        self._store, self._key, self._trainer = store, key, trainer
        self._seconds = 60 * minutes
        self._last = time.monotonic()
        self._progress = tf.Variable("", dtype=tf.string)
        self._state = tf.train.Checkpoint(
            classifier=trainer.classifier, optimizer=trainer.optimizer, progress=self._progress
        )

    def due(self) -> bool:
        """Tell whether the last checkpoint is older than `minutes`."""
        return time.monotonic() - self._last >= self._seconds

    def save(self, step: int, progress: Mapping[str, Any], *, keep: Collection[int]) -> None:
        """Save the state after `step`, with `progress` as JSON; remove earlier checkpoints of steps not in `keep`."""
        self._last = time.monotonic()
        if step in self._steps():
            return
        self._progress.assign(json.dumps(progress))
        with self._store.staging() as staged:
            self._state.write(str(staged / "state"))
            self._store.commit(staged, "checkpoints", f"{self._key}/{step}")
        for past in set(self._steps()) - {step, *keep}:
            self._store.drop("checkpoints", f"{self._key}/{past}")

    def restore(self) -> dict[str, Any]:
        """Restore the trainer from the last checkpoint, and return its progress; it is empty if there is no checkpoint.

        If one checkpoint is damaged, all are removed with a warning.
        """
        steps = self._steps()
        try:
            for step in steps:
                self._verify(step)
        except (ValueError, IndexError, tf.errors.OpError) as error:
            logger.warning("a checkpoint is damaged (%s): the training starts anew", type(error).__name__)
            self._store.drop("checkpoints", self._key)
            steps = []
        if not steps:
            return {}
        self._state.read(self._prefix(steps[-1])).assert_existing_objects_matched()
        progress: dict[str, Any] = json.loads(self._progress.numpy())
        return progress

    def restore_weights(self, step: int) -> None:
        """Give the classifier the weights that it had after `step`."""
        weights = tf.train.Checkpoint(classifier=self._trainer.classifier)
        weights.read(self._prefix(step)).assert_existing_objects_matched().expect_partial()

    def _steps(self) -> list[int]:
        if not self._store.contains("checkpoints", self._key):
            return []
        return sorted(int(path.name) for path in self._store.open("checkpoints", self._key).iterdir())

    def _prefix(self, step: int) -> str:
        return str(self._store.open("checkpoints", f"{self._key}/{step}") / "state")

    def _verify(self, step: int) -> None:
        """Read every tensor of a checkpoint once, so that TensorFlow compares the checksums."""
        reader = tf.train.load_checkpoint(self._prefix(step))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)


@contextmanager
def open_checkpoints(store: Store, key: str, trainer: Trainer, *, minutes: float) -> Iterator[Checkpoints]:
    """Open the checkpoints of the training with this key, and remove those of all other trainings.

    When the training ends without an error, its own checkpoints are removed too. The checkpoints of a store belong to
    one training at a time: a second training waits until the first one has ended or died.
    """
    with store.lock("training", waiting="waiting for another training in this store to end"):
        for other in set(store.names("checkpoints")) - {key}:
            store.drop("checkpoints", other)
        yield Checkpoints(store, key, trainer, minutes=minutes)
        store.drop("checkpoints", key)


def training_key(config: Config, splits: str, trainer: Trainer) -> str:
    """Return the sha256, in hex, of all that decides a training's result: equal keys end in equal weights.

    The encoder counts by its content, and by the initial weights, which may be those of a champion.
    """
    parts = [splits, training_digest(config), code_version(), library_versions()]
    parts += [trainer.runtime.precision, str(trainer.runtime.strategy.num_replicas_in_sync)]
    sha = hashlib.sha256("\n".join(parts).encode())
    for weights in trainer.classifier.get_weights():
        sha.update(weights.tobytes())
    return sha.hexdigest()
