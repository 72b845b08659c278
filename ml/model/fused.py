"""The encoder in the form that is served: the trained one, written so that TensorFlow fuses it, and without padding.

On a CPU TensorFlow computes a 2-D `MatMul` with its `BiasAdd` and its GELU in one operation of oneDNN; the `Einsum`
layers of tf-models, which training needs, are not fused. Here the products see the tokens of all texts one behind the
other, [tokens, hidden]. Only attention, which is little of the work, has a text in a row, with padding.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ml.encoder.weights import BertSizes, Pooling

Array = NDArray[np.float32]

_MASKED = -1e9  # added to the attention of padding: its weight becomes 0
_JOINED = re.compile(r"(?P<before>.*/self_attention/)(?P<parts>(query_)?key_value)(?P<after>/\w+:0)")
_LARGE = re.compile(r"/(kernel|embeddings):0$")
_ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {
    "gelu": lambda x: tf.nn.gelu(x, approximate=False),
    "gelu_new": lambda x: tf.nn.gelu(x, approximate=True),
    "gelu_pytorch_tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "relu": tf.nn.relu,
}


class _Places(NamedTuple):
    """Where the tokens of a batch are, all int32.

    `text` and `position`: the text of each token and its place in it, [tokens]; `first`: the first token of each text,
    [texts]; `padded`: the token of each place in the padded batch, [texts, 1, width], 0 for padding; `slots`: the place
    of each head of each token in [texts, heads, width], [tokens, heads]; `mask`: float32 [texts, 1, 1, width], to add
    to the attention.
    """

    text: Any
    position: Any
    first: Any
    padded: Any
    slots: Any
    mask: Any


class FusedBert:
    """Maps token ids, int32 [texts, (tokens)], to one vector for each text, float32 [texts, hidden].

    `weights` are those of the trained encoder by name, in the order of its layers. The layers multiply in `products`;
    embeddings, layer norms, sums and pooling are in float32. Each call is handed every variable that it reads: biases
    and layer norms, which are small, are constants of the graph besides, and one question takes 2 to 4 % less.
    """

    def __init__(self, weights: Mapping[str, Array], *, sizes: BertSizes, pooling: Pooling, products: Any) -> None:
        self._sizes, self._pooling, self._products = sizes, pooling, products
        joined = join_attention(weights, sizes.layers if pooling == "mean" else sizes.layers - 1)
        self._head_size = sizes.hidden // sizes.heads
        self._kept = {name: self._variable(name, value) for name, value in joined.items()}
        self._constants = {name: kept.numpy() for name, kept in self._kept.items() if not _LARGE.search(name)}

    @property
    def weights(self) -> list[Any]:
        """The variables, in the order of the trained encoder's layers, joined as `join_attention` does."""
        return list(self._kept.values())

    def __call__(self, tokens: tf.RaggedTensor) -> tf.Tensor:
        """Map token ids to vectors."""
        places = _places(tokens, self._sizes.heads)
        words = tf.gather(self._get("word_embeddings/embeddings"), tokens.flat_values)
        positions = tf.gather(self._get("position_embedding/embeddings"), places.position)
        x = words + positions + self._get("type_embeddings/embeddings")[0]
        x = self._norm("embeddings/layer_norm", x)
        for layer in range(self._sizes.layers - 1):
            x = self._layer(f"transformer/layer_{layer}", x, x, places)
        return self._pooled(f"transformer/layer_{self._sizes.layers - 1}", x, places)

    def _pooled(self, last: str, x: tf.Tensor, places: _Places) -> tf.Tensor:
        """Compute the last layer, of the first tokens alone unless all are needed, and pool."""
        if self._pooling == "mean":
            return tf.math.segment_mean(self._layer(last, x, x, places), places.text)
        first = self._layer(last, x, tf.gather(x, places.first), places)
        if self._pooling == "first token":
            return first
        return tf.tanh(_dense(first, self._get("pooler_transform/kernel"), self._get("pooler_transform/bias")))

    def _layer(self, name: str, x: tf.Tensor, asking: tf.Tensor, places: _Places) -> tf.Tensor:
        """Compute a layer for the tokens in `asking`, which are all of `x` or the first of each text."""
        attended = self._attend(f"{name}/self_attention", x, asking, places)
        x = self._norm(f"{name}/self_attention_layer_norm", asking + attended)
        inner = _ACTIVATIONS[self._sizes.activation](self._dense(f"{name}/intermediate", x))
        return self._norm(f"{name}/output_layer_norm", x + self._float(self._dense(f"{name}/output", inner)))

    def _attend(self, name: str, x: tf.Tensor, asking: tf.Tensor, places: _Places) -> tf.Tensor:
        query, key, value = self._queries_keys_values(name, x, asking, places)
        scale = tf.constant(self._head_size**-0.5, self._products)
        scores = tf.matmul(query, key, transpose_b=True) * scale + tf.cast(places.mask, self._products)
        mixed = tf.matmul(tf.nn.softmax(scores), value)
        own = tf.gather(self._rows(mixed), places.slots) if asking is x else mixed
        flat = tf.reshape(own, [-1, self._sizes.hidden])
        return self._float(self._dense(f"{name}/attention_output", flat))

    def _queries_keys_values(self, name: str, x: tf.Tensor, asking: tf.Tensor, places: _Places) -> list[tf.Tensor]:
        """Three of [texts, heads, width, hidden / heads]; the queries of first tokens alone have a width of 1."""
        if asking is x:
            return self._heads(self._dense(f"{name}/query_key_value", x), 3, places)
        query = self._dense(f"{name}/query", asking)
        own = tf.reshape(query, [-1, self._sizes.heads, 1, self._head_size])
        return [own, *self._heads(self._dense(f"{name}/key_value", x), 2, places)]

    def _heads(self, joined: tf.Tensor, parts: int, places: _Places) -> list[tf.Tensor]:
        """[tokens, parts * hidden] to as many parts of [texts, heads, width, hidden / heads], by one operation."""
        each = tf.reshape(tf.range(parts * self._sizes.heads), [parts, 1, self._sizes.heads, 1])
        apart: list[tf.Tensor] = tf.unstack(
            tf.gather(self._rows(joined), places.padded * (parts * self._sizes.heads) + each)
        )
        return apart

    def _rows(self, x: tf.Tensor) -> tf.Tensor:
        """Lay the heads below each other, [(all), hidden / heads]."""
        return tf.reshape(x, [-1, self._head_size])

    def _dense(self, name: str, x: tf.Tensor) -> tf.Tensor:
        return _dense(tf.cast(x, self._products), self._get(f"{name}/kernel"), self._get(f"{name}/bias"))

    def _float(self, x: tf.Tensor) -> tf.Tensor:
        return tf.cast(x, tf.float32)

    def _norm(self, name: str, x: tf.Tensor) -> tf.Tensor:
        apart = x - tf.reduce_mean(x, -1, keepdims=True)
        variance = tf.reduce_mean(tf.square(apart), -1, keepdims=True)
        scale = tf.math.rsqrt(variance + self._sizes.layer_norm_epsilon)
        return apart * scale * self._get(f"{name}/gamma") + self._get(f"{name}/beta")

    def _get(self, name: str) -> Any:
        constant = self._constants.get(f"{name}:0")
        return self._kept[f"{name}:0"] if constant is None else tf.constant(constant)

    def _variable(self, name: str, value: Array) -> Any:
        kind = self._products if re.search(r"transformer/.*/(kernel|bias):0", name) else tf.float32
        return tf.Variable(tf.cast(value, kind), trainable=False, name=name.removesuffix(":0"))


def _places(tokens: tf.RaggedTensor, heads: int) -> _Places:
    lengths = tf.cast(tokens.row_lengths(), tf.int32)
    first = tf.cast(tokens.row_starts(), tf.int32)
    text = tf.cast(tokens.value_rowids(), tf.int32)
    position = tf.range(tf.size(text)) - tf.gather(first, text)
    width = tf.reduce_max(lengths)
    within = tf.range(width) < lengths[:, None]
    return _Places(
        text=text,
        position=position,
        first=first,
        padded=tf.where(within, first[:, None] + tf.range(width), 0)[:, None],
        slots=(text[:, None] * heads + tf.range(heads)) * width + position[:, None],
        mask=tf.where(within, 0.0, _MASKED)[:, None, None],
    )


def _dense(x: tf.Tensor, kernel: Any, bias: Any) -> tf.Tensor:
    """Multiply a matrix; a kernel or bias of attention has heads as dimensions of its own, which cost nothing here."""
    flat = tf.reshape(kernel, [x.shape[-1], -1])
    return tf.nn.bias_add(tf.matmul(x, flat), tf.reshape(bias, [-1]))


def join_attention(weights: Mapping[str, Array], joined_layers: int) -> dict[str, Array]:
    """Join the weights of queries, keys and values, which one product multiplies then, in the first layers.

    In the others, which compute the query of the first token alone, only keys and values are joined. Joined weights
    have the parts as a further dimension before the last two.
    """
    made: dict[str, Array] = {}
    for name, value in weights.items():
        layer = re.match(r"transformer/layer_(\d+)/self_attention/(query|key|value)/(kernel|bias):0", name)
        parts = ("query", "key", "value") if layer and int(layer[1]) < joined_layers else ("key", "value")
        if layer is None or layer[2] not in parts:
            made[name] = value
        elif layer[2] == parts[0]:
            each = [weights[name.replace(f"/{parts[0]}/", f"/{part}/")] for part in parts]
            made[name.replace(f"/{parts[0]}/", f"/{'_'.join(parts)}/")] = np.stack(each, axis=-3)
    return made


def split_attention(variables: Sequence[Any]) -> Iterator[tuple[str, Array]]:
    """Yield name and value, float32, of each weight of the trained encoder: what `join_attention` joined is apart."""
    for variable in variables:
        value = tf.cast(variable, tf.float32).numpy()
        joined = _JOINED.fullmatch(variable.name)
        if joined is None:
            yield variable.name, value
            continue
        parts = joined["parts"].split("_")
        for part, own in zip(parts, np.moveaxis(value, -3, 0), strict=True):
            yield f"{joined['before']}{part}{joined['after']}", own
