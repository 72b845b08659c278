"""Make batches of texts of similar length, and pad each batch to its own longest text.

A question has 18 tokens on average; with padding to the limit of 128, most of the work would be on padding.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.encoder.tokenizer import TokenizedTexts

SORTED_BATCHES = 50


@dataclass(frozen=True)
class Batch:
    """`ids` and `mask`: int32 [rows, width]; `labels`: float32 [rows]; `rows`: indices in the data, int64 [rows]."""

    ids: NDArray[np.int32]
    mask: NDArray[np.int32]
    labels: NDArray[np.float32]
    rows: NDArray[np.int64]


def training_batches(
    texts: TokenizedTexts,
    labels: NDArray[np.float32],
    *,
    batch_size: int,
    width_multiple: int,
    random: np.random.Generator,
    skip: int = 0,
) -> Iterator[Batch]:
    """Yield the batches of one epoch in random order, without the first `skip` batches.

    The rows are shuffled, then sorted by length within every 50 batches; then the batches are shuffled.
    """
    order = random.permutation(len(texts))
    run = batch_size * SORTED_BATCHES
    groups = [
        group
        for first in range(0, len(order), run)
        for group in _by_length(texts, order[first : first + run], batch_size)
    ]
    for group in random.permutation(len(groups))[skip:]:
        yield _batch(texts, labels, groups[group], width_multiple)


def scoring_batches(
    texts: TokenizedTexts, labels: NDArray[np.float32], *, batch_size: int, width_multiple: int
) -> Iterator[Batch]:
    """Yield batches of all rows, sorted by length over all of the data."""
    for rows in _by_length(texts, np.arange(len(texts)), batch_size):
        yield _batch(texts, labels, rows, width_multiple)


def _by_length(texts: TokenizedTexts, rows: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    in_order = rows[np.argsort(texts.lengths[rows], kind="stable")]
    return [in_order[first : first + batch_size] for first in range(0, len(in_order), batch_size)]


def _batch(texts: TokenizedTexts, labels: NDArray[np.float32], rows: NDArray[np.int64], width_multiple: int) -> Batch:
    longest = int(texts.lengths[rows].max())
    ids, mask = texts.padded(rows, -(-longest // width_multiple) * width_multiple)
    return Batch(ids, mask, labels[rows], rows)
