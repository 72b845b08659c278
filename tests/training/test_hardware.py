import os
import subprocess
import sys
from pathlib import Path

import pytest

from ml.training.hardware import choose_precision


@pytest.mark.parametrize(
    ("gpus", "flags", "precision"),
    [
        ([(9, 0)], set(), "mixed_bfloat16"),
        ([(7, 5)], {"avx512_bf16"}, "mixed_float16"),
        ([(8, 0), (7, 0)], set(), "mixed_float16"),
        ([(6, 1)], {"avx512_bf16"}, "float32"),
        ([], {"fma", "avx512_bf16"}, "mixed_bfloat16"),
        ([], {"amx_bf16"}, "mixed_bfloat16"),
        ([], {"avx2", "fma"}, "float32"),
    ],
)
def test_the_precision_is_one_that_the_hardware_multiplies(gpus, flags, precision):
    assert choose_precision(gpus, flags) == precision


TWO_DEVICES = """
import sys
import numpy as np, tensorflow as tf
devices = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(devices[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from ml.config import TrainConfig
from ml.training.batches import Batch
from ml.encoder.pretrained import read_encoder
from ml.training.hardware import Runtime, choose_strategy
from ml.training.training_step import Trainer

settings = TrainConfig(dropout=0.0, learning_rate=1e-3)
ids = np.array([[2, 4, 5, 3], [2, 6, 3, 0], [2, 5, 3, 0]], np.int32)
batch = Batch(ids, (ids > 0).astype(np.int32), np.array([1, 0, 0], np.float32), np.arange(3))
results = []
for count in (1, 2):
    strategy = choose_strategy(tf.config.list_logical_devices("CPU")[:count])
    assert strategy.num_replicas_in_sync == count
    runtime = Runtime(precision="float32", jit_compile=False, strategy=strategy, width_multiple=1)
    trainer = Trainer(read_encoder(sys.argv[1]), settings, runtime, total_steps=10)
    for layer in trainer.classifier.submodules:
        if hasattr(layer, "rate"):
            layer.rate = 0.0
    losses = [float(trainer.update(batch)) for _ in range(3)]
    results.append((losses, trainer.classifier.get_weights()))
np.testing.assert_allclose(results[0][0], results[1][0], atol=1e-5)
for single, mirrored in zip(results[0][1], results[1][1]):
    np.testing.assert_allclose(single, mirrored, atol=1e-4)
"""


def test_two_devices_make_the_same_steps_as_one(tiny_encoder: Path):
    result = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, str(tiny_encoder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
