"""Choose the form in which a classifier is trained: as Keras computes it, or the one that is quicker on a CPU or a GPU.

All have the same variables, of the Keras classifier, and compute the same probabilities but for dropout masks. On a CPU
a batch is computed in parts: the cores would wait for each other at the end of each operation, and so they meet
once in a pass.
"""

from typing import Protocol

import tensorflow as tf
import tf_keras

from ml.config import TrainConfig
from ml.encoder.pretrained import PretrainedEncoder
from ml.encoder.weights import PretrainedBert
from ml.model.compiled import CompiledBert
from ml.model.dropout import DropoutMasks, HashedMasks, Masks
from ml.model.trained import Drop, TrainedBert
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
    """Choose the form for a native encoder that is quicker on a CPU, or, if XLA compiles the steps, on a GPU."""
    if not isinstance(pretrained, PretrainedBert):
        return KerasForm(classifier, settings.seed, parts=1 if runtime.jit_compile else PARTS)
    return (CompiledForm if runtime.jit_compile else QuickForm)(classifier, pretrained, settings)


class KerasForm:
    """The classifier as Keras computes it: with an encoder of any kind."""

    def __init__(self, classifier: tf_keras.Model, seed: int, *, parts: int) -> None:
        self._classifier, self._parts = classifier, parts
        self._masks = DropoutMasks(classifier, seed)

    def train(self, ids: tf.Tensor, mask: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
        """Compute with dropout."""
        return self._classify(ids, mask, draw, training=True)

    def score(self, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Compute without dropout."""
        return self._classify(ids, mask, tf.zeros([], tf.int64), training=False)

    def _classify(self, ids: tf.Tensor, mask: tf.Tensor, draw: tf.Tensor, *, training: bool) -> tf.Tensor:
        probabilities = []
        for part, rows in enumerate(_rows_of_parts(ids, self._parts)):
            self._masks.draw = draw * self._parts + part
            probabilities.append(self._classifier(_encoder_inputs(ids[rows], mask[rows]), training=training))
        return tf.concat(probabilities, 0)


class QuickForm:
    """The classifier of a native BERT, in the form that is quicker on a CPU."""

    def __init__(self, classifier: tf_keras.Model, pretrained: PretrainedBert, settings: TrainConfig) -> None:
        self._encoder = TrainedBert(
            classifier.get_layer("bert"), sizes=pretrained.sizes, pooling=pretrained.pooling, products=_products()
        )
        self._head, self._dropout, self._seed = classifier.get_layer("head"), settings.dropout, settings.seed

    def train(self, ids: tf.Tensor, mask: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
        """Compute with dropout."""
        seeds = [tf.stack([draw * PARTS + part, tf.constant(self._seed, tf.int64)]) for part in range(PARTS)]
        return self._classify(ids, mask, [Masks(seed).drop for seed in seeds])

    def score(self, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Compute without dropout."""
        return self._classify(ids, mask, [_keep] * PARTS)

    def _classify(self, ids: tf.Tensor, mask: tf.Tensor, drops: list[Drop]) -> tf.Tensor:
        weights = self._encoder.weights()
        vectors = [
            drop(self._encoder(weights, ids[rows], mask[rows], drop), self._dropout)
            for rows, drop in zip(_rows_of_parts(ids, PARTS), drops, strict=True)
        ]
        return self._head(tf.concat(vectors, 0))


class CompiledForm:
    """The classifier of a native BERT, in the form that XLA compiles for a GPU."""

    def __init__(self, classifier: tf_keras.Model, pretrained: PretrainedBert, settings: TrainConfig) -> None:
        self._classifier, self._seed = classifier, settings.seed
        self._encoder = CompiledBert(
            classifier.get_layer("bert"), sizes=pretrained.sizes, pooling=pretrained.pooling, products=_products()
        )
        self._head, self._dropout = classifier.get_layer("head"), settings.dropout

    def train(self, ids: tf.Tensor, mask: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
        """Compute with dropout; XLA must compile it."""
        drop = HashedMasks(tf.stack([draw, tf.constant(self._seed, tf.int64)])).drop
        return self._head(drop(self._encoder(self._encoder.weights(), ids, mask, drop), self._dropout))

    def score(self, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Compute without dropout, and without XLA."""
        return self._classifier(_encoder_inputs(ids, mask), training=False)


def _products() -> tf.DType:
    return tf.as_dtype(tf_keras.mixed_precision.global_policy().compute_dtype)


def _rows_of_parts(ids: tf.Tensor, parts: int) -> list[slice]:
    rows = tf.shape(ids)[0]
    return [slice(rows * part // parts, rows * (part + 1) // parts) for part in range(parts)]


def _keep(x: tf.Tensor, rate: float) -> tf.Tensor:
    return x


def _encoder_inputs(ids: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"input_word_ids": ids, "input_mask": mask, "input_type_ids": tf.zeros_like(ids)}
