"""GELU and layer norm with gradients written by hand: TensorFlow's own passes over memory are more than a CPU needs."""

from collections.abc import Callable, Mapping
from math import pi, sqrt
from typing import Any

import tensorflow as tf

from ml.encoder.bert import ACTIVATIONS

Gradient = Callable[[Any], Any]


@tf.custom_gradient  # type: ignore[untyped-decorator]
def gelu(x: Any) -> tuple[tf.Tensor, Gradient]:
    """Compute the exact GELU; its gradient takes the error function from the forward pass."""
    x = tf.convert_to_tensor(x)
    half, error = 0.5 * x, tf.math.erf(x * sqrt(0.5))

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        density = tf.exp(-half * x) * (x * sqrt(0.5 / pi))
        return upstream * (density + (0.5 * error + 0.5))

    return half * error + half, gradient


@tf.custom_gradient  # type: ignore[untyped-decorator]
def layer_norm(x: Any, gamma: Any, beta: Any, epsilon: Any) -> tuple[tf.Tensor, Gradient]:
    """Normalise the rows of `x`, [rows, width], then scale by `gamma` and shift by `beta`, each [width]."""
    apart = x - tf.reduce_mean(x, -1, keepdims=True)
    inverse = tf.math.rsqrt(tf.reduce_mean(tf.square(apart), -1, keepdims=True) + epsilon)
    normal = apart * inverse

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, None]:
        scaled = upstream * gamma
        along = tf.reduce_mean(scaled * normal, -1, keepdims=True)
        change = (scaled - tf.reduce_mean(scaled, -1, keepdims=True) - normal * along) * inverse
        return change, tf.reduce_sum(upstream * normal, 0), tf.reduce_sum(upstream, 0), None

    return normal * gamma + beta, gradient


QUICK_ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {**ACTIVATIONS, "gelu": gelu}
