"""Read a BERT from a folder in the Hugging Face layout: config.json, vocab.txt, model.safetensors."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ml.config.redaction import PACKAGE
from ml.encoder.folder_settings import TokenizerSettings, read_pooling, read_sizes, read_tokenizer
from ml.encoder.weights import BertSizes, PretrainedBert, check_vocabulary, read_vocabulary
from ml.errors import ConfigError, raise_if_passing
from ml.fingerprint import weights_files

WEIGHTS_FILE = "model.safetensors"

Array = NDArray[np.float32]


def package_folder(name: str) -> Path:
    """The folder with the weights inside an installed package."""
    for file in weights_files(f"{PACKAGE}{name}"):
        if file.name == WEIGHTS_FILE:
            return file.parent
    raise ConfigError(
        f"no installed package {name!r} carries {WEIGHTS_FILE}",
        where="[encoder] source",
        fix="install the package, or name another source",
    )


def read_huggingface(folder: Path) -> PretrainedBert:
    """Read the encoder in a folder; raises ConfigError if files are missing or do not fit together."""
    sizes, tokenizer = read_sizes(folder), read_tokenizer(folder)
    vocabulary = _read_vocabulary(folder, tokenizer)
    check_vocabulary(vocabulary, sizes.vocabulary)
    tensors = _Tensors(folder / WEIGHTS_FILE)
    return PretrainedBert(
        sizes=sizes,
        weights=tensors.as_bert_encoder(sizes),
        vocabulary=vocabulary,
        lower_case=tokenizer.lower_case,
        pooling=read_pooling(folder, has_pooler=tensors.have_pooler),
    )


def _read_vocabulary(folder: Path, tokenizer: TokenizerSettings) -> tuple[str, ...]:
    """Read vocab.txt or, if it is not there, take the vocabulary of tokenizer.json; the two must agree."""
    path = folder / "vocab.txt"
    if tokenizer.vocabulary and not path.is_file():
        return tokenizer.vocabulary
    vocabulary = read_vocabulary(path)
    if tokenizer.vocabulary and tokenizer.vocabulary != vocabulary:
        raise ConfigError(
            "vocab.txt and tokenizer.json have different tokens",
            where="[encoder] source",
            fix="use the files of one model, or remove the wrong one",
        )
    return vocabulary


class _Tensors:
    """The tensors of a file by name; a kernel is [outputs, inputs] in the file and [inputs, outputs] in Keras."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb"):  # safetensors says of each file that it cannot open that it is missing
                tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise_if_passing(error)
            raise ConfigError(
                f"{path.name} is missing or damaged", where="[encoder] source", fix="fetch the weights again"
            ) from None
        # A checkpoint with a head has the prefix "bert."; one converted from TensorFlow 1 has "gamma" and "beta".
        self._tensors: dict[str, Array] = {
            name.removeprefix("bert.").replace("gamma", "weight").replace("beta", "bias"): tensor
            for name, tensor in tensors.items()
        }

    @property
    def have_pooler(self) -> bool:
        """Tell whether there is a pooler; a checkpoint of masked-language modelling has none."""
        return "pooler.dense.weight" in self._tensors

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
            **self._pooler(hidden),
        }
        for layer in range(sizes.layers):
            weights |= self._layer(f"encoder.layer.{layer}.", f"transformer/layer_{layer}/", sizes)
        return weights

    def _pooler(self, hidden: int) -> dict[str, Array]:
        """Return the pooler's weights, or zeros, which no pooling uses then."""
        if self.have_pooler:
            return self._dense("pooler.dense", "pooler_transform", hidden, hidden)
        kernel = np.zeros((hidden, hidden), np.float32)
        return {"pooler_transform/kernel:0": kernel, "pooler_transform/bias:0": kernel[0]}

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
        return self._as_finite(name, tensor)

    def _as_finite(self, name: str, tensor: Array) -> Array:
        array = tensor.astype(np.float32, copy=False)
        if tensor.dtype.kind in "iub" or not np.isfinite(array).all():
            raise ConfigError(
                f"tensor {name} has values that are no finite floating-point numbers",
                where=f"[encoder] source, file {WEIGHTS_FILE}",
                fix="fetch the weights again, unquantised",
            )
        return array
