"""Checkpoints: a killed training resumes from the last one, and ends with the weights of an undisturbed training.

checkpoints/<key>/lock             held by who trains
checkpoints/<key>/<steps made>/    classifier, optimizer and progress, as tf.train.Checkpoint writes them
checkpoints/<key>/<part>-<number>/ token ids: see machines/shards.py
"""

import hashlib
import json
import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from ml.config import TrainConfig, config_digest
from ml.errors import LineageError
from ml.fingerprint import code_version, library_versions
from ml.store import Store
from ml.store.plain_path import plain_path
from ml.training.hardware import sum_over_devices
from ml.training.training_step import Trainer

_AGREED_DIGITS = 12  # of hexadecimal: their sum over a million devices fits into 64 bits
_CODE = ("training", "encoder", "model", "metrics.py")

logger = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one training, which the store keeps under the training's key; each is whole or absent.

    Of several machines the leader alone writes and removes them.
    """

    def __init__(self, store: Store, key: str, trainer: Trainer, *, minutes: float, leads: bool = True) -> None:
        self._store, self._key, self._trainer, self._leads = store, key, trainer, leads
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
        if not self._leads or step in self._steps():
            return
        self._progress.assign(json.dumps(progress))
        with self._store.staging() as staged:
            self._state.write(f"{plain_path(staged)}/state")
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
            for step in steps if self._leads else ():
                self._store.drop("checkpoints", f"{self._key}/{step}")
            steps = []
        if not steps:
            return {}
        self._state.read(self._prefix(steps[-1])).assert_existing_objects_matched()
        progress: dict[str, Any] = json.loads(self._progress.numpy())
        return progress

    def agree(self, step: int) -> None:
        """Raise LineageError unless all machines train the same, from the same step on."""
        strategy = self._trainer.runtime.strategy
        if strategy.num_replicas_in_sync == 1:
            return
        own = int(hashlib.sha256(f"{self._key} {step}".encode()).hexdigest()[:_AGREED_DIGITS], 16)
        if sum_over_devices(strategy, np.int64(own)) != own * strategy.num_replicas_in_sync:
            raise LineageError(
                "the machines do not train the same",
                where="train.workers",
                fix="give all the same record of the split, settings, code, libraries and store",
            )

    def restore_weights(self, step: int) -> None:
        """Give the classifier the weights that it had after `step`; a machine that does not lead exports none."""
        if not self._leads:
            return
        weights = tf.train.Checkpoint(classifier=self._trainer.classifier)
        weights.read(self._prefix(step)).assert_existing_objects_matched().expect_partial()

    def _steps(self) -> list[int]:
        return sorted(int(name) for name in self._store.members("checkpoints", self._key) if name.isdecimal())

    def _prefix(self, step: int) -> str:
        return f"{plain_path(self._store.open('checkpoints', f'{self._key}/{step}'))}/state"

    def _verify(self, step: int) -> None:
        """Read every tensor of a checkpoint once, so that TensorFlow compares the checksums."""
        reader = tf.train.load_checkpoint(self._prefix(step))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)


@contextmanager
def open_checkpoints(
    store: Store, key: str, trainer: Trainer, *, minutes: float, keep_days: float, leads: bool = True
) -> Iterator[Checkpoints]:
    """Open the checkpoints of the training with this key, and remove those of others once they are `keep_days` old.

    When the training ends without an error, its own checkpoints are removed too. A second training with the same key
    waits until the first one has ended or died. A machine that does not lead only reads.
    """
    if not leads:
        yield Checkpoints(store, key, trainer, minutes=minutes, leads=False)
        return
    store.drop_old("checkpoints", days=keep_days)
    with store.lock_of("checkpoints", key, waiting="waiting for another process that trains the same to end"):
        yield Checkpoints(store, key, trainer, minutes=minutes)
        store.drop("checkpoints", key)


def training_key(settings: TrainConfig, parts: Sequence[str], encoder: str, trainer: Trainer) -> str:
    """Return the sha256, in hex, of all that decides a training's result: equal keys end in equal weights.

    `parts`: the digests of the training and the validation rows; `encoder`: what identifies encoder and tokenizer. The
    initial weights may be a champion's.
    """
    runtime = trainer.runtime
    machine = [runtime.jit_compile, runtime.strategy.num_replicas_in_sync, runtime.widths]
    counted = replace(settings.deciding, precision=runtime.precision)
    content = [*parts, encoder, config_digest(counted), *machine, code_version(_CODE), library_versions()]
    sha = hashlib.sha256(json.dumps(content).encode())
    for weights in trainer.classifier.get_weights():
        sha.update(weights.tobytes())
    return sha.hexdigest()
