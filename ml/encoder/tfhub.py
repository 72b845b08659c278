"""Read a BERT from a folder in the TF-Hub format, which is a SavedModel."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras
from numpy.typing import NDArray

from ml.encoder.bert import assign_weights, build_bert
from ml.encoder.weights import BertSizes, PretrainedBert, check_vocabulary, read_vocabulary
from ml.errors import ConfigError
from ml.store.plain_path import plain_path

_PROBE = {
    "input_word_ids": [[1, 2, 3, 0], [3, 2, 1, 1]],
    "input_mask": [[1, 1, 1, 0], [1, 1, 1, 1]],
    "input_type_ids": [[0, 0, 0, 0], [0, 0, 0, 0]],
}
_QUERY_KERNEL = re.compile(r"transformer/layer_\d+/self_attention/query/kernel:0")


@dataclass(frozen=True, kw_only=True)
class PretrainedModule:
    """A module that is no BertEncoder; it is trained as it is, through hub.KerasLayer."""

    folder: Path
    vocabulary: tuple[str, ...]
    lower_case: bool


def read_module(folder: Path) -> PretrainedBert | PretrainedModule:
    """Read the encoder in a SavedModel.

    Returns its weights if a BertEncoder with these weights has the same outputs as the module, else the module itself.
    """
    module = hub.load(plain_path(folder))
    vocabulary, lower_case = _vocabulary(module)
    weights = {variable.name: variable.numpy() for variable in module.variables if variable is not module.do_lower_case}
    embeddings = weights.get("word_embeddings/embeddings:0")
    if embeddings is not None:
        check_vocabulary(vocabulary, len(embeddings))
    sizes = _sizes(weights)
    if sizes is None or not _has_same_outputs(module, sizes, weights):
        return PretrainedModule(folder=folder, vocabulary=vocabulary, lower_case=lower_case)
    return PretrainedBert(sizes=sizes, weights=weights, vocabulary=vocabulary, lower_case=lower_case)


def build_module(pretrained: PretrainedModule) -> tf_keras.Model:
    """Wrap the module as a Keras model: it maps a dict of three int32 [batch, tokens] to the module's outputs."""
    inputs = {name: tf_keras.Input((None,), dtype=tf.int32, name=name) for name in _PROBE}
    layer = hub.KerasLayer(plain_path(pretrained.folder), trainable=True, dtype="float32", name="hub_module")
    return tf_keras.Model(inputs, layer(inputs), name="bert")


def _vocabulary(module: Any) -> tuple[tuple[str, ...], bool]:
    if not hasattr(module, "vocab_file") or not hasattr(module, "do_lower_case"):
        raise ConfigError(
            "the module has no vocabulary",
            where="[encoder] source",
            fix="use a TF-Hub BERT encoder, with `vocab_file` and `do_lower_case`",
        )
    path = Path(module.vocab_file.asset_path.numpy().decode())
    return read_vocabulary(path), bool(module.do_lower_case.numpy())


def _sizes(weights: dict[str, NDArray[np.float32]]) -> BertSizes | None:
    """Infer the sizes from the shapes of the variables; None if the variables are not those of a BertEncoder."""
    try:
        vocabulary, hidden = weights["word_embeddings/embeddings:0"].shape
        return BertSizes(
            vocabulary=vocabulary,
            hidden=hidden,
            layers=sum(1 for name in weights if _QUERY_KERNEL.fullmatch(name)),
            heads=weights["transformer/layer_0/self_attention/query/kernel:0"].shape[1],
            intermediate=weights["transformer/layer_0/intermediate/kernel:0"].shape[1],
            positions=weights["position_embedding/embeddings:0"].shape[0],
            types=weights["type_embeddings/embeddings:0"].shape[0],
            activation="gelu_new",
        )
    except (KeyError, ValueError, IndexError):
        return None


def _has_same_outputs(module: Any, sizes: BertSizes, weights: dict[str, NDArray[np.float32]]) -> bool:
    """Tell whether a BertEncoder has the module's outputs: no variable's shape shows its activation and epsilon."""
    tf.config.experimental.enable_tensor_float_32_execution(False)  # else the two would differ on a GPU
    policy = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy("float32")
    try:
        encoder = build_bert(sizes)
        assign_weights(encoder, weights)
    except ConfigError:
        return False
    finally:
        tf_keras.mixed_precision.set_global_policy(policy)
    probe = {name: tf.constant(rows, tf.int32) for name, rows in _PROBE.items()}
    expected, found = module(probe)["pooled_output"], encoder(probe)["pooled_output"]
    return bool(np.allclose(expected, found, atol=1e-4))
