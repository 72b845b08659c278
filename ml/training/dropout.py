"""Dropout masks that are a function of seed and step, so that a resumed training draws those it would have drawn.

The random operations of Keras' dropout layers keep their state inside TensorFlow, where nothing can save it.
"""

from typing import Any

import tensorflow as tf
import tf_keras


class DropoutMasks:
    """The masks of all dropout layers of a model; set `draw`, int64 [], before each pass: another one, other masks."""

    def __init__(self, model: tf_keras.Model, seed: int) -> None:
        self.draw: Any = tf.zeros([], tf.int64)
        self._seed = seed
        layers = [layer for layer in model.submodules if isinstance(layer, tf_keras.layers.Dropout)]
        self._layers = len(layers)
        for number, layer in enumerate(layers):
            layer._random_generator = _LayerMasks(self, number)

    def seed(self, layer: int) -> tf.Tensor:
        """Of one layer's mask in this pass, int64 [2]."""
        return tf.stack([tf.constant(self._seed, tf.int64), self.draw * self._layers + layer])


class _LayerMasks:
    """What a dropout layer asks for its output, in the place of Keras' own generator."""

    def __init__(self, masks: DropoutMasks, layer: int) -> None:
        self._masks, self._layer = masks, layer

    def dropout(self, inputs: tf.Tensor, rate: float, noise_shape: tf.Tensor | None = None) -> tf.Tensor:
        seed = self._masks.seed(self._layer)
        return tf.nn.experimental.stateless_dropout(inputs, rate, seed=seed, noise_shape=noise_shape)
