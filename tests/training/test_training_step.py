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


def train(encoder, *, jit_compile, steps):
    tf_keras.utils.set_random_seed(0)
    strategy = tf.distribute.get_strategy()
    runtime = Runtime(precision="float32", jit_compile=jit_compile, strategy=strategy, widths=())
    trainer = Trainer(encoder, SETTINGS, runtime, total_steps=100)
    losses = [float(trainer.update(batch)) for batch in batches()[:steps]]
    return losses, [*trainer.classifier.get_weights(), *(each.numpy() for each in trainer.optimizer.variables())]


def test_a_compiled_step_gives_the_weights_and_moments_of_one_that_is_not(encoder):
    (losses, plain), (compiled_losses, compiled) = (
        train(encoder, jit_compile=jit_compile, steps=10) for jit_compile in (False, True)
    )
    np.testing.assert_allclose(compiled_losses, losses, atol=1e-5)
    assert len(compiled) == len(plain)
    for ours, theirs in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
