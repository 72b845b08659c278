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


def train(trainer, steps):
    """Make steps, and return each loss with the weights and moments after it."""
    course = []
    for batch in batches((5,))[:steps]:
        loss = float(trainer.update(batch))
        moments = [each.numpy() for each in trainer.optimizer.variables()]
        course.append((loss, [*trainer.classifier.get_weights(), *moments]))
    return course


@pytest.fixture(scope="module")
def plain(encoder):
    """Train without XLA and without a strategy."""
    return train(make_trainer(encoder, tf.distribute.get_strategy(), jit_compile=False), 10)


@pytest.fixture(scope="module")
def compiled(encoder):
    return make_trainer(encoder, tf.distribute.get_strategy(), jit_compile=True)


def assert_alike(ours, theirs):
    np.testing.assert_allclose([loss for loss, _ in ours], [loss for loss, _ in theirs], atol=1e-5)
    for one, other in zip(ours[-1][1], theirs[-1][1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_compiled_step_gives_the_weights_and_moments_of_one_that_is_not(compiled, plain):
    assert_alike(train(compiled, 10), plain)


def test_a_strategy_of_one_device_gives_the_weights_and_moments_of_none(encoder, plain):
    trainer = make_trainer(encoder, tf.distribute.MirroredStrategy(["CPU:0"]), jit_compile=True)
    assert_alike(train(trainer, 3), plain[:3])


def test_xla_compiles_gradients_and_adamw_as_one_function(compiled):
    (placed,) = compiled.ahead(batches((5,))[:1])
    text = compiled._update_placed.experimental_get_compiler_ir(*placed.tensors)(stage="hlo")
    updated = len(compiled.classifier.trainable_variables) + len(compiled.optimizer.variables())
    signature = next(line for line in text.splitlines() if line.startswith("ENTRY"))
    assert signature.partition("->")[2].count("[") == 1 + updated  # the loss, and each variable
