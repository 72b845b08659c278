"""What XLA compiles for a GPU is what TensorFlow computes, forward and backward."""

import numpy as np
import pytest
import tensorflow as tf

from ml.model.compiled import layer_norm

RANDOM = np.random.default_rng(0)


def plain_layer_norm(x, gamma, beta):
    mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-12)


@pytest.mark.parametrize("mean", [0.0, 10.0, -30.0], ids=lambda mean: f"mean {mean:g}")
def test_rows_far_from_zero_are_normalised_as_well(mean):
    x, upstream = (tf.constant(RANDOM.normal(at, 1, (6, 48)), tf.float32) for at in (mean, 0.0))
    gamma, beta = (tf.constant(RANDOM.normal(1, 1, 48), tf.float32) for _ in range(2))

    def value_and_gradients(function):
        with tf.GradientTape() as tape:
            tape.watch([x, gamma, beta])
            value = function(x, gamma, beta)
        return [value, *tape.gradient(value, [x, gamma, beta], upstream)]

    ours = tf.function(lambda: value_and_gradients(lambda *each: layer_norm(*each, 1e-12)), jit_compile=True)()
    for found, wanted in zip(ours, value_and_gradients(plain_layer_norm), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_rows_of_one_value_are_finite():
    rows = tf.fill([2, 48], 0.1)
    normal = tf.function(lambda: layer_norm(rows, tf.ones([48]), tf.zeros([48]), 1e-12), jit_compile=True)()
    assert np.isfinite(normal).all()
