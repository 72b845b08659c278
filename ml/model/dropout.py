"""Make dropout masks a function of seed and step, so that a resumed training has the masks of an undisturbed one.

Keras' dropout layers keep the state of their random numbers inside TensorFlow, where nothing can save it.
"""

from typing import Any

import tensorflow as tf
import tf_keras

_SPREAD = 0x9E3779B9  # 2**32 over the golden ratio: its multiples are far apart
_VALUES = 2**16  # a mask compares 16 random bits with the rate


class Masks:
    """Draws the masks of one pass, one after another, as a function of `seed`, int64 [2].

    16 random bits for each value are drawn in half the time of TensorFlow's 32; a rate is met to 1 / 65,536.
    """

    def __init__(self, seed: Any) -> None:
        self._seed, self._drawn = seed, 0

    def drop(self, x: tf.Tensor, rate: float) -> tf.Tensor:
        """Set a share of the values to 0, and scale the others so that the mean stays."""
        dropped = round(rate * _VALUES)
        if dropped == 0:
            return x
        kept = tf.cast(self._draw(tf.shape(x)) >= tf.constant(dropped, tf.uint16), x.dtype)
        return x * (kept * tf.constant(_VALUES / (_VALUES - dropped), x.dtype))

    def _draw(self, shape: tf.Tensor) -> tf.Tensor:
        """Draw uint16 of this shape, two from each word."""
        self._drawn += 1
        count = tf.reduce_prod(shape)
        words = tf.random.stateless_uniform(
            [(count + 1) // 2], self._seed + tf.constant([0, self._drawn], tf.int64), None, None, tf.uint32
        )
        return tf.reshape(tf.reshape(tf.bitcast(words, tf.uint16), [-1])[:count], shape)


class HashedMasks:
    """Draws the masks of one pass as a function of `seed`, int64 [2], for XLA.

    A value's 32 random bits are a hash of its place, which XLA can compute in the pass that uses them. The place is
    multiplied by an odd number and shifted by another, both drawn for each mask, and the bits are mixed by
    MurmurHash3's finalizer (Appleby 2011).
    """

    def __init__(self, seed: Any) -> None:
        self._seed, self._drawn = tf.cast(seed, tf.uint32), 0

    def drop(self, x: tf.Tensor, rate: float) -> tf.Tensor:
        """Set a share of the values to 0, and scale the others so that the mean stays."""
        if rate == 0:
            return x
        kept = self._draw(tf.shape(x)) >= tf.constant(round(rate * 2**32), tf.uint32)
        return tf.where(kept, x * tf.constant(1 / (1 - rate), x.dtype), tf.zeros([], x.dtype))

    def _draw(self, shape: tf.Tensor) -> tf.Tensor:
        """Draw uint32 of this shape."""
        self._drawn += 1
        shift = _mixed(_mixed(self._seed[0] + _word(self._drawn * _SPREAD)) + self._seed[1])
        factor = tf.bitwise.bitwise_or(_mixed(shift + _word(1)), _word(1))
        places = tf.reshape(tf.cast(tf.range(tf.reduce_prod(shape)), tf.uint32), shape)
        return _mixed(places * factor + shift)


def _mixed(x: tf.Tensor) -> tf.Tensor:
    x = _shifted(x, 16) * _word(0x85EBCA6B)
    return _shifted(_shifted(x, 13) * _word(0xC2B2AE35), 16)


def _shifted(x: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, _word(bits)))


def _word(value: int) -> tf.Tensor:
    return tf.constant(value % 2**32, tf.uint32)


class DropoutMasks:
    """The masks of all dropout layers of a model; set `draw`, int64 [], before each pass: each value has its masks."""

    def __init__(self, model: tf_keras.Model, seed: int) -> None:
        self.draw: Any = tf.zeros([], tf.int64)
        self._seed = seed
        layers = [layer for layer in model.submodules if isinstance(layer, tf_keras.layers.Dropout)]
        self._layers = len(layers)
        for number, layer in enumerate(layers):
            layer.call = _MaskedCall(self, number, layer)

    def seed(self, layer: int) -> tf.Tensor:
        """Return the seed of one layer's mask in this pass, int64 [2]."""
        return tf.stack([tf.constant(self._seed, tf.int64), self.draw * self._layers + layer])


class _MaskedCall:
    """Replaces the method `call` of one dropout layer."""

    def __init__(self, masks: DropoutMasks, number: int, layer: tf_keras.layers.Dropout) -> None:
        self._masks, self._number, self._layer = masks, number, layer

    def __call__(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not training or self._layer.rate == 0:
            return tf.identity(inputs)
        seed, noise_shape = self._masks.seed(self._number), self._layer.noise_shape
        return tf.nn.experimental.stateless_dropout(inputs, self._layer.rate, seed=seed, noise_shape=noise_shape)
