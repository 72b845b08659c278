"""Steps that XLA compiles, as on a GPU, are those of TensorFlow's own kernels."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from ml.config import TrainConfig
from ml.encoder.pretrained import read_encoder
from ml.training.hardware import Runtime
from ml.training.training_step import Trainer
from tests.tiny import WORDS, Sizes, write_tiny_encoder
from tests.training.replicas import batches

# Clipped in every step, and one gradient of a word that all rows have: the clipped norm must be the same one.
SETTINGS = TrainConfig(dropout=0.0, learning_rate=1e-3, weight_decay=0.1, clip_norm=0.01)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    pretrained = read_encoder(str(write_tiny_encoder(tmp_path_factory.mktemp("one"), WORDS, sizes=Sizes(layers=1))))
    return replace(pretrained, sizes=replace(pretrained.sizes, dropout=0.0, attention_dropout=0.0))


def make_trainer(encoder, strategy, *, jit_compile):
    tf_keras.utils.set_random_seed(0)
    runtime = Runtime(precision="float32", jit_compile=jit_compile, strategy=strategy, widths=())
    return Trainer(encoder, SETTINGS, runtime, total_steps=100)


def train(encoder, *, jit_compile, steps, strategy=None):
    trainer = make_trainer(encoder, strategy or tf.distribute.get_strategy(), jit_compile=jit_compile)
    losses = [float(trainer.update(batch)) for batch in batches()[:steps]]
    return losses, [*trainer.classifier.get_weights(), *(each.numpy() for each in trainer.optimizer.variables())]


def assert_alike(ours, theirs):
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-5)
    for one, other in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_compiled_step_gives_the_weights_and_moments_of_one_that_is_not(encoder):
    plain = train(encoder, jit_compile=False, steps=10)
    assert_alike(train(encoder, jit_compile=True, steps=10), plain)


def test_a_strategy_of_one_device_gives_the_weights_and_moments_of_none(encoder):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    found = train(encoder, jit_compile=True, steps=3, strategy=strategy)
    assert_alike(found, train(encoder, jit_compile=False, steps=3))


def test_xla_compiles_gradients_and_adamw_as_one_function(encoder):
    trainer = make_trainer(encoder, tf.distribute.get_strategy(), jit_compile=True)
    (placed,) = trainer.ahead(batches()[:1])
    compiled = trainer._update_placed.experimental_get_compiler_ir(*placed.tensors)(stage="hlo")
    updated = len(trainer.classifier.trainable_variables) + len(trainer.optimizer.variables())
    signature = next(line for line in compiled.splitlines() if line.startswith("ENTRY"))
    assert signature.partition("->")[2].count("[") == 1 + updated  # the loss, and each variable
