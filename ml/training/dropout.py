"""Make dropout masks a function of seed and step, so that a resumed training has the masks of an undisturbed one.

Keras' dropout layers keep the state of their random numbers inside TensorFlow, where nothing can save it.
"""

from typing import Any

import tensorflow as tf
import tf_keras


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
