"""Build the BertEncoder of tf-models-official, and copy pretrained weights into it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray
from official.nlp.modeling import layers, networks

from ml.encoder.weights import BertSizes
from ml.errors import ConfigError


def gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    """Compute GELU in its tanh form (Hendrycks and Gimpel 2016, arXiv:1606.08415).

    tf.nn.gelu computes the same with a power, which is slow on a CPU.
    """
    return 0.5 * x * (1.0 + tf.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))


ACTIVATIONS: dict[str, Any] = {
    "gelu": tf_keras.activations.gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": tf_keras.activations.relu,
}


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def build_bert(sizes: BertSizes, *, first_token_only: bool = False) -> tf_keras.Model:
    """Build a BertEncoder with random weights, which takes three int32 inputs [batch, tokens].

    It returns `pooled_output` [batch, hidden] and `sequence_output` [batch, tokens, hidden]. With `first_token_only`
    the last layer computes the first token alone, because `pooled_output` needs no other token. AutoGraph stays off: no
    layer branches on a tensor, and rewriting their source takes longer than all the rest.
    """
    encoder = networks.BertEncoder(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        num_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        inner_dim=sizes.intermediate,
        inner_activation=ACTIVATIONS[sizes.activation],
        max_sequence_length=sizes.positions,
        type_vocab_size=sizes.types,
        output_dropout=sizes.dropout,
        attention_dropout=sizes.attention_dropout,
        embedding_layer=_word_embeddings(sizes),
        output_range=1 if first_token_only else None,
        dict_outputs=True,
        name="bert",
    )
    for layer in encoder.submodules:
        if isinstance(layer, tf_keras.layers.LayerNormalization):
            layer.epsilon = sizes.layer_norm_epsilon
    return encoder


def pool_by_mean(bert: tf_keras.Model) -> tf_keras.Model:
    """Replace the encoder's pooler: `pooled_output` [batch, hidden] becomes the mean of a text's token vectors."""
    inputs = {tensor.name: tensor for tensor in bert.inputs}
    pooling = tf_keras.layers.GlobalAveragePooling1D(name="mean_pooling", dtype="float32")
    pooled = pooling(bert.output["sequence_output"], mask=inputs["input_mask"])
    return tf_keras.Model(inputs, {"pooled_output": pooled}, name="bert")


def pool_by_first_token(bert: tf_keras.Model) -> tf_keras.Model:
    """Drop the encoder's pooler: `pooled_output` [batch, hidden] becomes the vector of the first token."""
    inputs = {tensor.name: tensor for tensor in bert.inputs}
    return tf_keras.Model(inputs, {"pooled_output": bert.output["sequence_output"][:, 0]}, name="bert")


def assign_weights(encoder: tf_keras.Model, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Copy weights into an encoder by name; raises ConfigError if a weight is missing, unknown or of another shape."""
    variables = {variable.name: variable for variable in encoder.variables}
    strange = sorted(variables.keys() ^ weights.keys())
    if strange:
        raise ConfigError(
            f"the encoder's weights do not fit: {strange[0]}", where="[encoder] source", fix="use a BERT encoder"
        )
    for name, variable in variables.items():
        if tuple(variable.shape) != weights[name].shape:
            raise ConfigError(
                f"{name} has shape {weights[name].shape} where {tuple(variable.shape)} belongs",
                where="[encoder] source",
                fix="use weights and sizes of the same model",
            )
        variable.assign(weights[name])


def _word_embeddings(sizes: BertSizes) -> layers.OnDeviceEmbedding:
    # Always float32: with mixed precision each step would cast the whole table, which costs more than the lookup,
    # and the table's gradient would become dense.
    return layers.OnDeviceEmbedding(
        vocab_size=sizes.vocabulary,
        embedding_width=sizes.hidden,
        initializer=tf_keras.initializers.TruncatedNormal(stddev=0.02),
        name="word_embeddings",
        dtype="float32",
    )
