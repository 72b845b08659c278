"""Read a pretrained encoder from its source, and build its Keras model and its tokenizer."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, replace

import tf_keras

from ml.encoder.bert import assign_weights, build_bert, pool_by_first_token, pool_by_mean
from ml.encoder.check import MODULE_FILE, check_positions, local_folder, read_folder
from ml.encoder.hub_download import download_module
from ml.encoder.tfhub import PretrainedModule, build_module, read_module
from ml.encoder.tokenizer import Tokenizer
from ml.encoder.weights import Pooling, PretrainedBert
from ml.store.files import tree_digest

PretrainedEncoder = PretrainedBert | PretrainedModule

_POOLED: dict[Pooling, Callable[[tf_keras.Model], tf_keras.Model]] = {
    "pooler": lambda encoder: encoder,
    "first token": pool_by_first_token,
    "mean": pool_by_mean,
}

logger = logging.getLogger(__name__)


def read_encoder(source: str) -> PretrainedEncoder:
    """Read the encoder from `package:NAME`, a TF-Hub handle, a URL or a folder; raises ConfigError if there is none."""
    folder = download_module(source) if "://" in source else local_folder(source)
    return _told(read_module(folder) if (folder / MODULE_FILE).is_file() else read_folder(folder))


def _told(pretrained: PretrainedEncoder) -> PretrainedEncoder:
    """Log in which of the two ways the encoder is trained."""
    if isinstance(pretrained, PretrainedModule):
        logger.warning(
            "the module is not recognised as a BertEncoder: it trains through hub.KerasLayer, in float32, and is served"
            " as it is"
        )
    else:
        logger.info("the encoder is a native BertEncoder; its output is pooled by: %s", pretrained.pooling)
    return pretrained


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
    encoder = build_bert(pretrained.sizes, first_token_only=pretrained.pooling != "mean")
    assign_weights(encoder, pretrained.weights)
    return _POOLED[pretrained.pooling](encoder)


def build_tokenizer(pretrained: PretrainedEncoder, max_tokens: int) -> Tokenizer:
    """Build the tokenizer with the vocabulary that the encoder was trained with.

    Raises ConfigError if `max_tokens` is larger than the number of the encoder's positions.
    """
    if isinstance(pretrained, PretrainedBert):
        check_positions(pretrained.sizes.positions, max_tokens)
    return Tokenizer(pretrained.vocabulary, lower_case=pretrained.lower_case, max_tokens=max_tokens)
