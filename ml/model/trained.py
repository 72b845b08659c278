"""The encoder in the form that is trained on a CPU: what the BertEncoder computes, in fewer and quicker operations.

Queries, keys and values are one product; each weight is cast once for all parts of a batch; all that is no product is
in float32, which TensorFlow computes quicker on a CPU than bfloat16; GELU and layer norm have gradients of their own.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from ml.encoder.weights import BertSizes, Pooling
from ml.model.gradients import QUICK_ACTIVATIONS, layer_norm

_MASKED = -1e9  # added to the attention of padding: its weight becomes 0
_PARTS = ("query", "key", "value")
_JOINED = "_".join(_PARTS)

Weights = Mapping[str, Any]
Drop = Callable[[Any, float], Any]  # sets a share of the values to 0


class TrainedBert:
    """Maps token ids to one vector for each text, by the variables of a BertEncoder; layers multiply in `products`."""

    def __init__(self, encoder: Any, *, sizes: BertSizes, pooling: Pooling, products: Any) -> None:
        self._sizes, self._pooling, self._products = sizes, pooling, products
        self._variables = {variable.name.removesuffix(":0"): variable for variable in encoder.variables}

    @property
    def layers(self) -> type["Layers"]:
        """How a layer is computed."""
        return Layers

    def weights(self) -> Weights:
        """Read, cast and join the weights, once for all parts of a batch."""
        weights = {name: self._read(name, variable) for name, variable in self._variables.items()}
        for layer in range(self._sizes.layers):
            weights |= self._join(f"transformer/layer_{layer}/self_attention", weights)
        return weights

    def __call__(self, weights: Weights, ids: tf.Tensor, mask: tf.Tensor, drop: Drop) -> tf.Tensor:
        """Map ids and their mask, int32 [texts, width], to vectors, float32 [texts, hidden]."""
        texts, width = tf.unstack(tf.shape(ids))
        layers = self.layers(self._sizes, self._products, weights, drop, texts, width, _added(mask))
        x = layers.embed(ids)
        for number in range(self._sizes.layers - 1):
            x = layers.layer(number, x, x)
        return self._pooled(layers, x, mask)

    def _pooled(self, layers: "Layers", x: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Compute the last layer, of the first tokens alone unless all are needed, and pool."""
        last, in_texts = self._sizes.layers - 1, [layers.texts, layers.width, self._sizes.hidden]
        if self._pooling == "mean":
            counted = tf.cast(mask, tf.float32)
            shares = counted / tf.reduce_sum(counted, 1, keepdims=True)
            tokens = tf.cast(layers.layer(last, x, x), tf.float32)
            return tf.reduce_sum(tf.reshape(tokens, in_texts) * shares[:, :, None], 1)
        first = tf.cast(layers.layer(last, x, tf.reshape(x, in_texts)[:, 0]), tf.float32)
        return first if self._pooling == "first token" else tf.tanh(layers.dense("pooler_transform", first))

    def _read(self, name: str, variable: Any) -> Any:
        if name.startswith("word_embeddings/"):  # a few rows are gathered: read as a whole, its gradient would be dense
            return variable
        return tf.cast(variable, self._products) if name.endswith("/kernel") else tf.convert_to_tensor(variable)

    def _join(self, name: str, weights: Weights) -> Weights:
        """Join what makes queries, keys and values: kernels to [hidden, 3 * hidden], biases to [3 * hidden]."""
        shapes = {"kernel": [self._sizes.hidden, self._sizes.hidden], "bias": [self._sizes.hidden]}
        return {
            f"{name}/{_JOINED}/{kind}": tf.concat(
                [tf.reshape(weights[f"{name}/{part}/{kind}"], shape) for part in _PARTS], -1
            )
            for kind, shape in shapes.items()
        }


class Layers(NamedTuple):
    """The layers, for one part of a batch: `texts` and `width` are int32 [], `added` is float32 [texts, 1, 1, width].

    Its methods map tokens, float32 [texts * width, hidden], to tokens.
    """

    sizes: BertSizes
    products: Any
    weights: Weights
    drop: Drop
    texts: Any
    width: Any
    added: Any

    def embed(self, ids: tf.Tensor) -> tf.Tensor:
        """Map token ids, int32 [texts, width], to tokens."""
        words = tf.gather(self.weights["word_embeddings/embeddings"], ids)
        positions = self.weights["position_embedding/embeddings"][: self.width]
        x = words + (positions + self.weights["type_embeddings/embeddings"][0])
        return self.drop(self._norm("embeddings/layer_norm", tf.reshape(x, [-1, x.shape[-1]])), self.sizes.dropout)

    def layer(self, number: int, x: tf.Tensor, asking: tf.Tensor) -> tf.Tensor:
        """Compute a layer for the tokens in `asking`, which are all of `x` or the first of each text."""
        name = f"transformer/layer_{number}"
        attended = self.drop(self._attend(f"{name}/self_attention", x, asking), self.sizes.attention_dropout)
        x = self._norm(f"{name}/self_attention_layer_norm", asking + attended)
        inner = QUICK_ACTIVATIONS[self.sizes.activation](self.dense(f"{name}/intermediate", x))
        return self._norm(
            f"{name}/output_layer_norm", x + self.drop(self.dense(f"{name}/output", inner), self.sizes.dropout)
        )

    def dense(self, name: str, x: tf.Tensor) -> tf.Tensor:
        """Multiply [rows, inputs] in `products`, and add the bias in float32: [rows, outputs]."""
        return tf.nn.bias_add(tf.cast(self.product(name, x), tf.float32), self.bias(name))

    def product(self, name: str, x: tf.Tensor) -> tf.Tensor:
        """Multiply [rows, inputs] in `products`: [rows, outputs]."""
        kernel = tf.reshape(self.weights[f"{name}/kernel"], [x.shape[-1], -1])
        return tf.matmul(tf.cast(x, self.products), kernel)

    def bias(self, name: str) -> tf.Tensor:
        """Return the bias of a dense layer, float32 [outputs]."""
        return tf.reshape(self.weights[f"{name}/bias"], [-1])

    def _attend(self, name: str, x: tf.Tensor, asking: tf.Tensor) -> tf.Tensor:
        query, key, value = self._heads(self.dense(f"{name}/{_JOINED}", x))
        own = query if asking is x else query[:, :, :1]
        scale = (self.sizes.hidden // self.sizes.heads) ** -0.5
        scores = tf.cast(tf.matmul(own, key, transpose_b=True), tf.float32) * scale + self.added
        shares = self.drop(self._shares(scores), self.sizes.attention_dropout)
        mixed = tf.transpose(tf.matmul(shares, value), [0, 2, 1, 3])
        return self.dense(f"{name}/attention_output", tf.reshape(mixed, [-1, self.sizes.hidden]))

    def _shares(self, scores: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.nn.softmax(scores), self.products)

    def _heads(self, joined: tf.Tensor) -> list[tf.Tensor]:
        """[texts * width, 3 * hidden] to three of [texts, heads, width, hidden / heads], in `products`."""
        shape = [self.texts, self.width, len(_PARTS), self.sizes.heads, self.sizes.hidden // self.sizes.heads]
        apart = tf.reshape(tf.cast(joined, self.products), shape)
        heads: list[tf.Tensor] = tf.unstack(tf.transpose(apart, [2, 0, 3, 1, 4]))
        return heads

    def _norm(self, name: str, x: tf.Tensor) -> tf.Tensor:
        gamma, beta = self.weights[f"{name}/gamma"], self.weights[f"{name}/beta"]
        return layer_norm(x, gamma, beta, self.sizes.layer_norm_epsilon)


def _added(mask: tf.Tensor) -> tf.Tensor:
    return tf.where(mask == 0, _MASKED, 0.0)[:, None, None]
