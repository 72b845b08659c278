"""Train on one device, on a strategy of one replica, and on two logical devices of one GPU."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.gpu_check.encoders import VOCABULARY, read_without_dropout
from benchmarks.gpu_check.training import TINY_BATCH, Way, make_batch, trainer_of
from ml.config import TrainConfig
from ml.training.hardware import choose_strategy

Row = dict[str, Any]
STEPS, WIDTH = 50, 16
MEMORY_MIB = 4096
# As in tests/training/replicas.py: 16 bits round a gradient of nearly 0 to either side.
TOLERANCES = {"float32": 1e-4, "mixed_bfloat16": 0.05}


def replicas(encoder: Path, ways: Sequence[Way]) -> Iterator[Row]:
    """Compare the losses of all steps with those of one device; the variables of two replicas must be equal."""
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    limit = {"memory_limit": MEMORY_MIB} if kind == "GPU" else {}
    device = tf.config.list_physical_devices(kind)[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration(**limit)] * 2)
    devices = tf.config.list_logical_devices(kind)
    for way in ways:
        plain, _ = _train(encoder, way, None)
        for strategy in (tf.distribute.MirroredStrategy([devices[0].name]), choose_strategy(devices)):
            losses, apart = _train(encoder, way, strategy)
            far = float(np.abs(np.subtract(losses, plain)).max())
            yield {
                **way.shown,
                "replicas": strategy.num_replicas_in_sync,
                "variables that differ": apart,
                "farthest loss from one device's": f"{far:.1e}",
                "right": apart == 0 and far < TOLERANCES[way.precision],
            }


def _train(encoder: Path, way: Way, strategy: Any) -> tuple[list[float], int]:
    settings = TrainConfig(dropout=0.0, learning_rate=1e-3, weight_decay=1.0, head_learning_rate_factor=10.0)
    trainer = trainer_of(read_without_dropout(encoder), way, settings, strategy)
    batches = [make_batch(TINY_BATCH, WIDTH, VOCABULARY["tiny"], seed) for seed in range(5)]
    losses = [float(trainer.update(batches[step % len(batches)])) for step in range(STEPS)]
    parts = trainer.runtime.strategy.experimental_local_results
    variables = [*trainer.classifier.variables, *trainer.optimizer.variables()]
    each = [[part.numpy() for part in parts(variable)] for variable in variables]
    return losses, sum(not np.array_equal(copies[0], copy) for copies in each for copy in copies[1:])
