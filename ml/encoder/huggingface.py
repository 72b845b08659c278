"""Read a BERT from a folder in the Hugging Face layout: config.json, vocab.txt, model.safetensors."""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ml.encoder.bert import ACTIVATIONS, BertSizes, Pooling, PretrainedBert, check_vocabulary, read_vocabulary
from ml.errors import ConfigError

WEIGHTS_FILE = "model.safetensors"

_SIZE_KEYS = {
    "vocabulary": "vocab_size",
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
    "positions": "max_position_embeddings",
    "types": "type_vocab_size",
}

Array = NDArray[np.float32]


def package_folder(name: str) -> Path:
    """Find the folder with the weights in an installed package, by its file list and without importing it.

    Raises ConfigError if no such package is installed or the package has no weights.
    """
    try:
        files = metadata.files(name) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == WEIGHTS_FILE:
            return Path(str(file.locate())).parent
    raise ConfigError(
        f"no installed package {name!r} carries {WEIGHTS_FILE}",
        where="[encoder] source",
        fix="install the package, or name another source",
    )


def read_huggingface(folder: Path) -> PretrainedBert:
    """Read the encoder in a folder; raises ConfigError if files are missing or do not fit together."""
    sizes = _read_sizes(folder)
    vocabulary = read_vocabulary(folder / "vocab.txt")
    check_vocabulary(vocabulary, sizes.vocabulary)
    return PretrainedBert(
        sizes=sizes,
        weights=_Tensors(folder / WEIGHTS_FILE).as_bert_encoder(sizes),
        vocabulary=vocabulary,
        lower_case=bool(_read_json(folder / "tokenizer_config.json", {}).get("do_lower_case", True)),
        pooling=_read_pooling(folder),
    )


def _read_pooling(folder: Path) -> Pooling:
    """Read the pooling of a sentence-transformers folder; any other BERT was trained to pool by the first token."""
    settings = _read_json(folder / "1_Pooling" / "config.json", {})
    return "mean" if settings.get("pooling_mode_mean_tokens") else "first token"


def _read_sizes(folder: Path) -> BertSizes:
    config = _read_json(folder / "config.json")
    missing = [key for key in _SIZE_KEYS.values() if not isinstance(config.get(key), int)]
    activation = config.get("hidden_act", "gelu")
    if config.get("model_type", "bert") != "bert" or missing or activation not in ACTIVATIONS:
        raise ConfigError(
            "not the config.json of a BERT" + (f": no whole number {missing[0]}" if missing else ""),
            where="[encoder] source",
            fix="use an encoder of model_type bert with the activation gelu, gelu_new or relu",
        )
    return BertSizes(
        **{field: config[key] for field, key in _SIZE_KEYS.items()},
        activation=activation,
        layer_norm_epsilon=config.get("layer_norm_eps", 1e-12),
        dropout=config.get("hidden_dropout_prob", 0.1),
    )


def _read_json(path: Path, absent: dict[str, Any] | None = None) -> dict[str, Any]:
    if absent is not None and not path.is_file():
        return absent
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        tree = None
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path.name} is missing or not JSON", where="[encoder] source", fix="give a whole Hugging Face folder"
        )
    return tree


class _Tensors:
    """The tensors of a file by name; a kernel is [outputs, inputs] in the file and [inputs, outputs] in Keras."""

    def __init__(self, path: Path) -> None:
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError):
            raise ConfigError(
                f"{path.name} is missing or damaged", where="[encoder] source", fix="fetch the weights again"
            ) from None
        # A checkpoint with a head has the prefix "bert."; one converted from TensorFlow 1 has "gamma" and "beta".
        self._tensors: dict[str, Array] = {
            name.removeprefix("bert.").replace("gamma", "weight").replace("beta", "bias"): tensor
            for name, tensor in tensors.items()
        }

    def as_bert_encoder(self, sizes: BertSizes) -> dict[str, Array]:
        """Return all weights with the names and the shapes of BertEncoder's variables."""
        hidden = sizes.hidden
        weights = {
            "word_embeddings/embeddings:0": self._get("embeddings.word_embeddings.weight", sizes.vocabulary, hidden),
            "position_embedding/embeddings:0": self._get(
                "embeddings.position_embeddings.weight", sizes.positions, hidden
            ),
            "type_embeddings/embeddings:0": self._get("embeddings.token_type_embeddings.weight", sizes.types, hidden),
            **self._layer_norm("embeddings.LayerNorm", "embeddings/layer_norm", hidden),
            **self._dense("pooler.dense", "pooler_transform", hidden, hidden),
        }
        for layer in range(sizes.layers):
            weights |= self._layer(f"encoder.layer.{layer}.", f"transformer/layer_{layer}/", sizes)
        return weights

    def _layer(self, source: str, target: str, sizes: BertSizes) -> dict[str, Array]:
        hidden, intermediate, attention = sizes.hidden, sizes.intermediate, f"{target}self_attention"
        return {
            **self._attention(f"{source}attention.", f"{attention}/", sizes),
            **self._layer_norm(f"{source}attention.output.LayerNorm", f"{attention}_layer_norm", hidden),
            **self._dense(f"{source}intermediate.dense", f"{target}intermediate", hidden, intermediate),
            **self._dense(f"{source}output.dense", f"{target}output", intermediate, hidden),
            **self._layer_norm(f"{source}output.LayerNorm", f"{target}output_layer_norm", hidden),
        }

    def _attention(self, source: str, target: str, sizes: BertSizes) -> dict[str, Array]:
        hidden, heads = sizes.hidden, sizes.heads
        weights = self._dense(f"{source}output.dense", f"{target}attention_output", hidden, hidden)
        kernel = f"{target}attention_output/kernel:0"
        weights[kernel] = weights[kernel].reshape(heads, -1, hidden)
        for name in ("query", "key", "value"):
            split = self._dense(f"{source}self.{name}", f"{target}{name}", hidden, hidden)
            weights[f"{target}{name}/kernel:0"] = split[f"{target}{name}/kernel:0"].reshape(hidden, heads, -1)
            weights[f"{target}{name}/bias:0"] = split[f"{target}{name}/bias:0"].reshape(heads, -1)
        return weights

    def _dense(self, source: str, target: str, inputs: int, outputs: int) -> dict[str, Array]:
        return {
            f"{target}/kernel:0": self._get(f"{source}.weight", outputs, inputs).T,
            f"{target}/bias:0": self._get(f"{source}.bias", outputs),
        }

    def _layer_norm(self, source: str, target: str, size: int) -> dict[str, Array]:
        return {
            f"{target}/gamma:0": self._get(f"{source}.weight", size),
            f"{target}/beta:0": self._get(f"{source}.bias", size),
        }

    def _get(self, name: str, *shape: int) -> Array:
        tensor: Array | None = self._tensors.get(name)
        if tensor is None or tensor.shape != shape:
            found = "missing" if tensor is None else f"of shape {tensor.shape}"
            raise ConfigError(
                f"tensor {name} is {found}, config.json calls for {shape}",
                where=f"[encoder] source, file {WEIGHTS_FILE}",
                fix="use weights and config.json of the same model",
            )
        return tensor.astype(np.float32, copy=False)
