"""The classifier: an encoder, a dropout layer, and one unit with a sigmoid."""

import io
import math
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

ENCODER_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def build_classifier(encoder: tf_keras.Model, *, dropout: float, seed: int) -> tf_keras.Model:
    """Build the classifier, which maps a dict of three int32 [batch, tokens] to probabilities, float32 [batch, 1]."""
    inputs = {name: tf_keras.Input((None,), dtype=tf.int32, name=name) for name in ENCODER_INPUTS}
    pooled = encoder(inputs)["pooled_output"]
    dropped = tf_keras.layers.Dropout(dropout, name="head_dropout")(pooled)
    return tf_keras.Model(inputs, build_head(seed)(dropped), name="classifier")


def build_head(seed: int) -> tf_keras.layers.Layer:
    """Build the unit, which maps vectors [texts, hidden] to probabilities [texts, 1].

    It is always float32, also with mixed precision: probabilities near 0 and 1 need the digits.
    """
    return tf_keras.layers.Dense(
        1,
        activation="sigmoid",
        dtype="float32",
        kernel_initializer=tf_keras.initializers.TruncatedNormal(stddev=0.02, seed=seed),
        name="head",
    )


def named_weights(classifier: tf_keras.Model) -> list[tuple[str, NDArray[np.float32]]]:
    """Read name and value of each weight, in the order of the layers."""
    return [(variable.name, variable.numpy()) for variable in classifier.weights]


def start_at_share(classifier: tf_keras.Model, share: float) -> None:
    """Set the head's bias so that its first probabilities lie near `share`, the share of positive training rows.

    With a bias of 0 the first steps would only lower the bias, and in each step Adam lowers it by no more than the
    learning rate.
    """
    classifier.get_layer("head").bias.assign([math.log(share / (1 - share))])


def summarize(classifier: tf_keras.Model) -> str:
    """Return Keras' table of all layers, also of the layers inside the encoder, with shapes and parameter counts."""
    text = io.StringIO()
    classifier.summary(
        line_length=110, expand_nested=True, show_trainable=False, print_fn=lambda line: text.write(f"{line}\n")
    )
    return text.getvalue()


def count_parameters(classifier: tf_keras.Model) -> dict[str, int]:
    """Count the parameters of each layer, from input to output; layers without parameters are left out."""
    return {layer.name: layer.count_params() for layer in _layers(classifier) if layer.count_params()}


def _layers(model: tf_keras.Model) -> Iterator[tf_keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, tf_keras.Model):
            yield from _layers(layer)
        else:
            yield layer
