"""Train on one device and on several logical ones, and compare all variables of all replicas.

python -m tests.training.replicas ENCODER REPLICAS FORMAT…: in a process of its own, since logical devices are
for ever.
"""

import sys
from dataclasses import replace

import numpy as np
import tensorflow as tf

from ml.config import TrainConfig
from ml.encoder.pretrained import read_encoder
from ml.training.batches import Batch
from ml.training.hardware import Precision, Runtime, choose_strategy
from ml.training.training_step import Trainer

STEPS = 50
# Strong enough that a kernel without it is seen at once: each step takes up to 1 % of all kernels.
SETTINGS = TrainConfig(dropout=0.0, learning_rate=1e-2, weight_decay=1.0, head_learning_rate_factor=10.0)


def batches() -> list[Batch]:
    """Batches of 5 rows, which neither 2 nor 4 divide, and of 3, so that one of 4 replicas has none."""
    random = np.random.default_rng(0)
    made = []
    for rows in (5, 3) * (STEPS // 2):
        ids = random.integers(4, 16, (rows, 6)).astype(np.int32)
        ids[:, 0] = 2
        labels = (ids[:, 1] % 2).astype(np.float32)
        made.append(Batch(ids, np.ones_like(ids), labels, np.ones_like(labels), np.arange(rows)))
    return made


def train(
    encoder: str, precision: Precision, jit_compile: bool, replicas: int
) -> tuple[list[float], list[list[np.ndarray]]]:
    """The losses of all steps, and each variable (the optimizer's moments too) on each replica."""
    strategy = choose_strategy(tf.config.list_logical_devices("CPU")[:replicas])
    assert strategy.num_replicas_in_sync == replicas
    runtime = Runtime(precision=precision, jit_compile=jit_compile, strategy=strategy, widths=())
    pretrained = read_encoder(encoder)
    pretrained = replace(pretrained, sizes=replace(pretrained.sizes, dropout=0.0, attention_dropout=0.0))
    trainer = Trainer(pretrained, SETTINGS, runtime, total_steps=2 * STEPS)
    losses = [float(trainer.update(batch)) for batch in batches()]
    variables = [*trainer.classifier.variables, *trainer.optimizer.variables()]
    return losses, [[part.numpy() for part in strategy.experimental_local_results(each)] for each in variables]


def main(encoder: str, replicas: str, *numbers: str) -> None:
    """Print for each number format how many of the variables differ between replicas, and the largest differences.

    The differences are to one device, of weights and moments, and of losses. A format that ends in `+xla` is compiled.
    """
    devices = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(devices[0], [tf.config.LogicalDeviceConfiguration()] * int(replicas))
    tf.config.experimental.enable_op_determinism()
    tf.random.set_seed(0)
    for number in numbers:
        precision, _, xla = number.partition("+")
        single_losses, single = train(encoder, precision, bool(xla), 1)
        losses, mirrored = train(encoder, precision, bool(xla), int(replicas))
        apart = sum(not np.array_equal(parts[0], part) for parts in mirrored for part in parts[1:])
        far = max(float(np.abs(one[0] - parts[0]).max()) for one, parts in zip(single, mirrored, strict=True))
        print(number, len(mirrored), apart, far, float(np.abs(np.subtract(losses, single_losses)).max()))


if __name__ == "__main__":
    main(*sys.argv[1:])
