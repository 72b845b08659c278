"""Choose the form in which a classifier is trained: as Keras computes it, or on a CPU the quicker one, in two parts.

Both have the same variables, of the Keras classifier, and compute the same probabilities but for dropout masks.
"""

from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf
import tf_keras

from ml.config import TrainConfig
from ml.encoder.pretrained import PretrainedEncoder
from ml.encoder.weights import PretrainedBert
from ml.model.trained import TrainedBert
from ml.training.dropout import DropoutMasks, Masks
from ml.training.hardware import PARTS, Runtime


class TrainedForm(Protocol):
    """Maps token ids and their mask, int32 [rows, width], to probabilities, float32 [rows, 1]."""

    def train(self, ids: tf.Tensor, mask: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
        """Compute with dropout; each `draw`, int64 [], has its own masks."""

    def score(self, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Compute without dropout."""


def choose_form(
    pretrained: PretrainedEncoder, classifier: tf_keras.Model, settings: TrainConfig, runtime: Runtime
) -> TrainedForm:
    """Choose the quicker form for a native encoder, unless XLA compiles the steps: XLA fuses what is written here."""
    if runtime.jit_compile or not isinstance(pretrained, PretrainedBert):
        return KerasForm(classifier, settings.seed)
    return PartsForm(classifier, pretrained, settings)


class KerasForm:
    """The classifier as Keras computes it: with an encoder of any kind."""

    def __init__(self, classifier: tf_keras.Model, seed: int) -> None:
        self._classifier = classifier
        self._masks = DropoutMasks(classifier, seed)

    def train(self, ids: tf.Tensor, mask: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
        """Compute with dropout."""
        self._masks.draw = draw
        return self._classifier(_encoder_inputs(ids, mask), training=True)

    def score(self, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Compute without dropout."""
        return self._classifier(_encoder_inputs(ids, mask), training=False)


class PartsForm:
    """The classifier of a native BERT, in parts of the batch that do not wait for each other.

    A CPU's cores wait for each other at the end of each operation; in this way they meet once in a pass.
    """

    def __init__(self, classifier: tf_keras.Model, pretrained: PretrainedBert, settings: TrainConfig) -> None:
        products = tf.as_dtype(tf_keras.mixed_precision.global_policy().compute_dtype)
        self._encoder = TrainedBert(
            classifier.get_layer("bert"), sizes=pretrained.sizes, pooling=pretrained.pooling, products=products
        )
        self._head, self._dropout, self._seed = classifier.get_layer("head"), settings.dropout, settings.seed

    def train(self, ids: tf.Tensor, mask: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
        """Compute with dropout."""
        seeds = [tf.stack([draw * PARTS + part, tf.constant(self._seed, tf.int64)]) for part in range(PARTS)]
        return self._classify(ids, mask, [Masks(seed).drop for seed in seeds])

    def score(self, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Compute without dropout."""
        return self._classify(ids, mask, [_keep] * PARTS)

    def _classify(self, ids: tf.Tensor, mask: tf.Tensor, drops: list[Callable[[Any, float], Any]]) -> tf.Tensor:
        weights, rows = self._encoder.weights(), tf.shape(ids)[0]
        vectors = []
        for part, drop in enumerate(drops):
            own = slice(rows * part // PARTS, rows * (part + 1) // PARTS)
            vectors.append(drop(self._encoder(weights, ids[own], mask[own], drop), self._dropout))
        return self._head(tf.concat(vectors, 0))


def _keep(x: tf.Tensor, rate: float) -> tf.Tensor:
    return x


def _encoder_inputs(ids: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"input_word_ids": ids, "input_mask": mask, "input_type_ids": tf.zeros_like(ids)}
