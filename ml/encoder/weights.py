"""A pretrained BERT as plain arrays and tokens, apart from TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.errors import ConfigError, raise_if_passing

# The dense tanh layer on the first token that BERT was pretrained with; the first token as it is; the mean of all.
Pooling = Literal["pooler", "first token", "mean"]
_PADDED_TO = (8, 64, 128)


@dataclass(frozen=True, kw_only=True)
class BertSizes:
    """The shape of a BERT encoder; `activation` is a key of `ACTIVATIONS`, `vocabulary` the number of embeddings."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    positions: int
    types: int
    activation: str = "gelu"
    layer_norm_epsilon: float = 1e-12
    dropout: float = 0.1
    attention_dropout: float = 0.1


@dataclass(frozen=True, kw_only=True)
class PretrainedBert:
    """A pretrained BERT: its weights by variable name of BertEncoder, its vocabulary and its pooling."""

    sizes: BertSizes
    weights: Mapping[str, NDArray[np.float32]]
    vocabulary: tuple[str, ...]
    lower_case: bool
    pooling: Pooling = "pooler"


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """Read the tokens of a vocabulary file, one per line; raises ConfigError if it is missing or not UTF-8."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise_if_passing(error)
        raise ConfigError(
            f"the encoder has no vocabulary that can be read: {error.strerror}",
            where=f"[encoder] source, file {path.name}",
            fix="put the vocabulary that the encoder was trained with beside its weights",
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(
            "the vocabulary is not UTF-8", where=f"[encoder] source, file {path.name}", fix="convert it to UTF-8"
        ) from None
    return tuple(text.rstrip("\n").split("\n"))


def check_vocabulary(vocabulary: tuple[str, ...], embeddings: int) -> None:
    """Raise ConfigError unless the tokens are distinct, and each word embedding but those that pad the table has one.

    Tables are padded with unused embeddings to a multiple of 8, 64 or 128, for speed.
    """
    if embeddings not in {len(vocabulary), *(-(-len(vocabulary) // size) * size for size in _PADDED_TO)}:
        raise ConfigError(
            f"the vocabulary has {len(vocabulary)} tokens, the encoder {embeddings} word embeddings",
            where="[encoder] source",
            fix="use the vocabulary that the encoder was trained with",
        )
    _check_distinct(vocabulary)


def _check_distinct(vocabulary: tuple[str, ...]) -> None:
    lines: dict[str, int] = {}
    for number, token in enumerate(vocabulary, start=1):
        if lines.setdefault(token, number) != number:
            raise ConfigError(
                f"the tokens {lines[token]} and {number} of the vocabulary are the same",
                where="[encoder] source",
                fix="use the vocabulary that the encoder was trained with",
            )
