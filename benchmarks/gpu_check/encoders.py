"""The encoders of the check: random weights in Hugging Face's layout, tiny or of BERT-base's size."""

from dataclasses import replace
from pathlib import Path

from ml.encoder.pretrained import PretrainedEncoder, read_encoder
from ml.encoder.weights import PretrainedBert
from tests.tiny import WORDS, Sizes, write_tiny_encoder

SIZES = {"tiny": Sizes(), "base": Sizes(layers=12, heads=12, hidden=768, intermediate=3072, positions=512)}
VOCABULARY = {"tiny": 64, "base": 30_522}
_SPECIAL = 4


def write_encoder(folder: Path, size: str) -> Path:
    """Write the encoder of a size; beside a few words, its vocabulary has tokens that no text has."""
    unused = VOCABULARY[size] - _SPECIAL - len(WORDS)
    vocabulary = [*WORDS, *(f"[unused{number}]" for number in range(unused))]
    return write_tiny_encoder(folder, vocabulary, sizes=SIZES[size], spread=0.02)


def read_without_dropout(folder: Path) -> PretrainedEncoder:
    """Read an encoder that drops nothing, so that losses differ by rounding alone."""
    pretrained = read_encoder(str(folder))
    assert isinstance(pretrained, PretrainedBert)
    return replace(pretrained, sizes=replace(pretrained.sizes, dropout=0.0, attention_dropout=0.0))


def training_flops(sizes: Sizes, width: int) -> float:
    """Count the floating point operations of one row of `width` tokens in a training step, products alone.

    The backward pass makes twice the products of the forward pass; the last layer computes the first token alone. A
    product of [n, k] and [k, m] has 2 n k m operations.
    """
    hidden, inner, layers = sizes.hidden, sizes.intermediate, sizes.layers
    keys_and_values, attention = 2 * width * hidden**2, 2 * width * hidden
    of_a_token = 2 * hidden**2 + 2 * hidden * inner + attention  # query and output, the two dense layers, attention
    forward = layers * keys_and_values + ((layers - 1) * width + 1) * of_a_token + hidden**2
    return 3 * 2.0 * forward
