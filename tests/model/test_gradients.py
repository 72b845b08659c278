"""Gradients that are written by hand are those that TensorFlow derives."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from ml.model.gradients import gelu, layer_norm

RANDOM = np.random.default_rng(0)
ROWS, UPSTREAM = (tf.constant(RANDOM.normal(0, 3, (5, 8)), tf.float32) for _ in range(2))
GAMMA, BETA = (tf.constant(RANDOM.normal(1, 1, 8), tf.float32) for _ in range(2))


def plain_layer_norm(x, gamma, beta):
    mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3)


def value_and_gradients(function, *arguments):
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = function(*arguments)
    return [value, *tape.gradient(value, arguments, UPSTREAM)]


@pytest.mark.parametrize(
    ("ours", "plain", "arguments"),
    [
        (gelu, tf_keras.activations.gelu, [ROWS]),
        (lambda *arguments: layer_norm(*arguments, 1e-3), plain_layer_norm, [ROWS, GAMMA, BETA]),
    ],
    ids=["GELU", "layer norm"],
)
def test_value_and_gradients_are_those_of_the_plain_form(ours, plain, arguments):
    expected = value_and_gradients(plain, *arguments)
    for found, wanted in zip(value_and_gradients(ours, *arguments), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
