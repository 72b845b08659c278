"""The classifier: an encoder, dropout, and one unit with a sigmoid."""

import io
import math
from collections.abc import Iterator

import tensorflow as tf
import tf_keras

ENCODER_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")


def build_classifier(encoder: tf_keras.Model, *, dropout: float, seed: int) -> tf_keras.Model:
    """A dict of three int32 [batch, tokens] in, the probability of the positive class, float32 [batch, 1], out."""
    inputs = {name: tf_keras.Input((None,), dtype=tf.int32, name=name) for name in ENCODER_INPUTS}
    pooled = encoder(inputs)["pooled_output"]
    dropped = tf_keras.layers.Dropout(dropout, name="head_dropout")(pooled)
    # In float32 under any policy: probabilities near 0 and 1 need the digits.
    head = tf_keras.layers.Dense(
        1,
        activation="sigmoid",
        dtype="float32",
        kernel_initializer=tf_keras.initializers.TruncatedNormal(stddev=0.02, seed=seed),
        name="head",
    )
    return tf_keras.Model(inputs, head(dropped), name="classifier")


def start_at_share(classifier: tf_keras.Model, share: float) -> None:
    """Give the head the bias at which its probabilities lie about `share`, the positives' in the training rows.

    From 0 the first steps would all go into a way down that Adam walks no faster than at its learning rate a step.
    """
    classifier.get_layer("head").bias.assign([math.log(share / (1 - share))])


def summarize(classifier: tf_keras.Model) -> str:
    """Keras' table of all layers, those inside the encoder too, with shapes and parameter counts."""
    text = io.StringIO()
    classifier.summary(
        line_length=110, expand_nested=True, show_trainable=False, print_fn=lambda line: text.write(f"{line}\n")
    )
    return text.getvalue()


def count_parameters(classifier: tf_keras.Model) -> dict[str, int]:
    """Parameters by layer, from input to output; layers without any are left out."""
    return {layer.name: layer.count_params() for layer in _layers(classifier) if layer.count_params()}


def _layers(model: tf_keras.Model) -> Iterator[tf_keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, tf_keras.Model):
            yield from _layers(layer)
        else:
            yield layer
