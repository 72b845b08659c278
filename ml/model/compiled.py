"""The encoder in the form that XLA compiles for a GPU: what the BertEncoder computes, with less to read and write.

A GPU multiplies so quickly that the passes over memory between products cost more than these. What one pass leaves for
another is kept in the products' number format; XLA by itself keeps much of it in float32, or twice.
"""

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

from ml.model.gradients import QUICK_ACTIVATIONS
from ml.model.trained import Layers, TrainedBert

Gradient = Callable[[Any], Any]


class CompiledBert(TrainedBert):
    """Maps token ids to one vector for each text, by the variables of a BertEncoder, where XLA compiles."""

    @property
    def layers(self) -> type[Layers]:
        """How a layer is computed."""
        return CompiledLayers


class CompiledLayers(Layers):
    """The layers; tokens are [texts * width, hidden], in the products' number format."""

    def layer(self, number: int, x: tf.Tensor, asking: tf.Tensor) -> tf.Tensor:
        """Compute a layer for the tokens in `asking`, which are all of `x` or the first of each text."""
        name = f"transformer/layer_{number}"
        attended = self.drop(self._attend(f"{name}/self_attention", x, asking), self.sizes.attention_dropout)
        x = self._norm(f"{name}/self_attention_layer_norm", self._sum(asking, attended))
        output = self.drop(self.dense(f"{name}/output", self._inner(f"{name}/intermediate", x)), self.sizes.dropout)
        return self._norm(f"{name}/output_layer_norm", self._sum(x, output))

    def _inner(self, name: str, x: tf.Tensor) -> tf.Tensor:
        if self.sizes.activation != "gelu":
            return self._kept(QUICK_ACTIVATIONS[self.sizes.activation](self.dense(name, x)))
        return gelu_of_sum(self.product(name, x), self.bias(name))

    def _sum(self, x: tf.Tensor, change: tf.Tensor) -> tf.Tensor:
        return self._kept(tf.cast(x, tf.float32) + change)

    def _heads(self, joined: tf.Tensor) -> list[tf.Tensor]:
        """[texts * width, 3 * hidden] to three of [texts, heads, width, hidden / heads], each written by itself."""
        shape = [self.texts, self.width, self.sizes.heads, self.sizes.hidden // self.sizes.heads]
        parts = tf.split(tf.cast(joined, self.products), 3, -1)
        return [tf.transpose(tf.reshape(part, shape), [0, 2, 1, 3]) for part in parts]

    def _shares(self, scores: tf.Tensor) -> tf.Tensor:
        return softmax(scores, self.products)

    def _norm(self, name: str, x: tf.Tensor) -> tf.Tensor:
        gamma, beta = self.weights[f"{name}/gamma"], self.weights[f"{name}/beta"]
        return self._kept(layer_norm(x, gamma, beta, self.sizes.layer_norm_epsilon))

    def _kept(self, x: tf.Tensor) -> tf.Tensor:
        return keep(x, self.products)


def keep(x: tf.Tensor, numbers: Any) -> tf.Tensor:
    """Have `x`, and its gradient, in memory in this number format, and in no other."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def kept(x: Any) -> tuple[tf.Tensor, Gradient]:
        return _barrier(tf.cast(x, numbers)), lambda upstream: tf.cast(_barrier(upstream), x.dtype)

    return kept(x)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def gelu_of_sum(product: Any, bias: Any) -> tuple[tf.Tensor, Gradient]:
    """Compute the exact GELU of [rows, width] plus [width]; its gradient reads the product alone."""

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = tf.cast(_barrier(product), tf.float32) + bias
        slope = _below(x) + x * tf.exp(-0.5 * x * x) * sqrt(0.5 / pi)
        change = _barrier(tf.cast(tf.cast(upstream, tf.float32) * slope, product.dtype))
        return change, tf.reduce_sum(tf.cast(change, tf.float32), 0)

    x = tf.cast(product, tf.float32) + bias
    return tf.cast(x * _below(x), product.dtype), gradient


@tf.custom_gradient  # type: ignore[untyped-decorator]
def layer_norm(x: Any, gamma: Any, beta: Any, epsilon: Any) -> tuple[tf.Tensor, Gradient]:
    """Normalise the rows of `x`, [rows, width], then scale by `gamma` and shift by `beta`, each float32 [width].

    The result is float32. The gradient reads `x` and two means of each row. A row's means are computed apart from what
    reads them: in one kernel, as XLA joins them, they are slower. The variance is the mean square less the squared
    mean, which takes one pass; it loses digits where the mean is many times the deviation.
    """
    wide = tf.cast(x, tf.float32)
    mean, square = xla.optimization_barrier(_mean(wide), _mean(tf.square(wide)))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, None]:
        normal, inverse = _normal(x, mean, square, epsilon)
        scaled = upstream * gamma
        level, along = xla.optimization_barrier(_mean(scaled), _mean(scaled * normal))
        change = (scaled - level - normal * along) * inverse
        return tf.cast(change, x.dtype), tf.reduce_sum(upstream * normal, 0), tf.reduce_sum(upstream, 0), None

    normal, _ = _normal(x, mean, square, epsilon)
    return normal * gamma + beta, gradient


def _normal(x: tf.Tensor, mean: tf.Tensor, square: tf.Tensor, epsilon: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the normalised rows, and by what they were multiplied, [rows, 1], of rows with these means."""
    inverse = tf.math.rsqrt(tf.maximum(square - tf.square(mean), 0.0) + epsilon)
    return (tf.cast(x, tf.float32) - mean) * inverse, inverse


def _mean(x: tf.Tensor) -> tf.Tensor:
    """Return the mean of each row, [rows, 1]."""
    return tf.reduce_mean(x, -1, keepdims=True)


def softmax(scores: tf.Tensor, numbers: Any) -> tf.Tensor:
    """Compute the softmax of float32 scores in this number format, which alone its gradient reads."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def shares_of(scores: Any) -> tuple[tf.Tensor, Gradient]:
        shares = _barrier(tf.cast(tf.nn.softmax(scores), numbers))

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            own = tf.cast(shares, tf.float32)
            weighted = tf.cast(upstream, tf.float32) * own
            return weighted - own * tf.reduce_sum(weighted, -1, keepdims=True)

        return shares, gradient

    return shares_of(scores)


def _below(x: tf.Tensor) -> tf.Tensor:
    """Return the share of a normal distribution that is below x."""
    return 0.5 * tf.math.erf(x * sqrt(0.5)) + 0.5


def _barrier(x: tf.Tensor) -> tf.Tensor:
    """Return `x`; XLA computes it at this place, as it is written."""
    [same] = xla.optimization_barrier(x)
    return same
