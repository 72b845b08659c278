"""Train on one device and on several logical ones, and compare all variables of all replicas.

python -m tests.training.replicas            2 and 3 replicas, each number format, with and without XLA: some minutes
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ml.config import TrainConfig
from ml.encoder.pretrained import read_encoder
from ml.training.batches import Batch
from ml.training.hardware import Precision, Runtime, choose_strategy
from ml.training.training_step import Trainer
from tests.tiny import WORDS, write_tiny_encoder

PROJECT = Path(__file__).parents[2]
STEPS = 50
# How far weights, and losses, of one device and of several may be apart. Adam divides a gradient by its size: where 16
# bits round one that is nearly 0 to the other side, the head's next step of 0.1 goes the other way.
TOLERANCES = {"float32": (1e-5, 1e-5), "mixed_bfloat16": (0.2, 0.02), "mixed_float16": (0.2, 0.02)}
# Strong enough that a kernel without it is seen at once: each step takes up to 1 % of all kernels.
SETTINGS = TrainConfig(dropout=0.0, learning_rate=1e-2, weight_decay=1.0, head_learning_rate_factor=10.0)


def batches(sizes: Sequence[int] = (5, 1)) -> list[Batch]:
    """Batches of 5 rows, which neither 2 nor 3 divide, and of 1, so that all replicas but one have none."""
    random = np.random.default_rng(0)
    made = []
    for rows in (*sizes,) * (STEPS // len(sizes)):
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
    sizes = (5,) if jit_compile else (5, 1)  # XLA compiles for each size
    losses = [float(trainer.update(batch)) for batch in batches(sizes)]
    variables = [*trainer.classifier.variables, *trainer.optimizer.variables()]
    return losses, [[part.numpy() for part in strategy.experimental_local_results(each)] for each in variables]


class Trained(NamedTuple):
    """How many variables there are, how many differ between replicas, and the largest differences to one device.

    `weights` are weights and moments.
    """

    numbers: str
    variables: int
    apart: int
    weights: float
    losses: float

    @property
    def is_right(self) -> bool:
        """Whether all replicas are equal, and give what one device gives."""
        weights, losses = TOLERANCES[self.numbers.partition("+")[0]]
        return self.apart == 0 and self.weights < weights and self.losses < losses


def trained_on(python: str, replicas: int, folder: Path, formats: Sequence[str]) -> Iterator[Trained]:
    """Train in each number format, in a process of its own, since logical devices are for ever.

    A format that ends in `+xla` is compiled.
    """
    encoder = write_tiny_encoder(folder / "encoder", WORDS)
    settings = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps({**settings, "num_hidden_layers": 1}))
    command = [python, "-m", "tests.training.replicas", str(encoder), str(replicas), *formats]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            yield Trained(*json.loads(line))
    assert process.returncode == 0


def print_trained(encoder: str, replicas: str, *formats: str) -> None:
    """Print the fields of `Trained` for each format."""
    devices = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(devices[0], [tf.config.LogicalDeviceConfiguration()] * int(replicas))
    tf.config.experimental.enable_op_determinism()
    tf.random.set_seed(0)
    for each in formats:
        precision, _, xla = each.partition("+")
        single_losses, single = train(encoder, precision, bool(xla), 1)
        losses, mirrored = train(encoder, precision, bool(xla), int(replicas))
        apart = sum(not np.array_equal(parts[0], part) for parts in mirrored for part in parts[1:])
        far = max(float(np.abs(one[0] - parts[0]).max()) for one, parts in zip(single, mirrored, strict=True))
        losses_far = float(np.abs(np.subtract(losses, single_losses)).max())
        print(json.dumps([each, len(mirrored), apart, far, losses_far]), flush=True)


def main() -> None:
    """Print a line for each number of replicas and each format; fail if a replica or a result is off."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        # Compiled and not compiled, replicas sum gradients of other shapes, and TensorFlow mixes the two in a process.
        for replicas, xla in product((2, 3), ("", "+xla")):
            for each in trained_on(sys.executable, replicas, Path(folder), [f"{each}{xla}" for each in TOLERANCES]):
                print(replicas, "replicas,", each, "right" if each.is_right else "WRONG", flush=True)
                wrong += not each.is_right
    sys.exit(bool(wrong))


if __name__ == "__main__":
    print_trained(*sys.argv[1:]) if sys.argv[1:] else main()
