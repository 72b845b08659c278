"""Read a pretrained encoder from its source, and build its Keras model and its tokenizer."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import tf_keras

from ml.config.redaction import PACKAGE
from ml.encoder.bert import PretrainedBert, assign_weights, build_bert, pool_by_mean
from ml.encoder.hub_download import download_module
from ml.encoder.huggingface import WEIGHTS_FILE, package_folder, read_huggingface
from ml.encoder.tfhub import PretrainedModule, build_module, read_module
from ml.encoder.tokenizer import Tokenizer
from ml.errors import ConfigError
from ml.store.files import tree_digest

PretrainedEncoder = PretrainedBert | PretrainedModule


def read_encoder(source: str) -> PretrainedEncoder:
    """Read the encoder from `package:NAME`, a TF-Hub handle, a URL or a folder; raises ConfigError if there is none."""
    folder = _folder(source)
    if (folder / "saved_model.pb").is_file():
        return read_module(folder)
    if (folder / WEIGHTS_FILE).is_file():
        return read_huggingface(folder)
    raise ConfigError(
        "there is no encoder at the source",
        where="[encoder] source",
        fix=f"name a folder with saved_model.pb or with {WEIGHTS_FILE}, a TF-Hub handle, or {PACKAGE}NAME",
    )


def encoder_digest(pretrained: PretrainedEncoder) -> str:
    """Return the sha256, in hex, of the weights, sizes and vocabulary, or of the module's files."""
    if isinstance(pretrained, PretrainedModule):
        return tree_digest(pretrained.folder)
    described = {**asdict(replace(pretrained, weights={})), "weights": sorted(pretrained.weights)}
    sha = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in sorted(pretrained.weights):
        sha.update(pretrained.weights[name].tobytes())
    return sha.hexdigest()


def build_encoder(pretrained: PretrainedEncoder) -> tf_keras.Model:
    """Build the encoder with its weights: it maps three int32 [batch, tokens] to `pooled_output` [batch, hidden]."""
    if isinstance(pretrained, PretrainedModule):
        return build_module(pretrained)
    encoder = build_bert(pretrained.sizes, first_token_only=pretrained.pooling == "first token")
    assign_weights(encoder, pretrained.weights)
    return pool_by_mean(encoder) if pretrained.pooling == "mean" else encoder


def build_tokenizer(pretrained: PretrainedEncoder, max_tokens: int) -> Tokenizer:
    """Build the tokenizer with the vocabulary that the encoder was trained with.

    Raises ConfigError if `max_tokens` is larger than the number of the encoder's positions.
    """
    if isinstance(pretrained, PretrainedBert) and max_tokens > pretrained.sizes.positions:
        raise ConfigError(
            f"{max_tokens} tokens are more than the encoder's {pretrained.sizes.positions} positions",
            where="[encoder] max_tokens",
            fix=f"set it to {pretrained.sizes.positions} or less",
        )
    return Tokenizer(pretrained.vocabulary, lower_case=pretrained.lower_case, max_tokens=max_tokens)


def _folder(source: str) -> Path:
    if source.startswith(PACKAGE):
        return package_folder(source.removeprefix(PACKAGE))
    if "://" in source:
        return download_module(source)
    return Path(source)
