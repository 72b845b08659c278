"""Make batches of texts of similar length, and pad each to its own longest text or to one of a few widths.

A question has 18 tokens on average; with padding to the limit of 128, most of the work would be on padding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.encoder.tokenizer import TokenizedTexts

SORTED_BATCHES = 50


@dataclass(frozen=True)
class Batch:
    """Rows of the data, and behind them rows of weight 0 that fill up the batch.

    `ids` and `mask`: int32 [batch, width]; `labels` and `weights`: float32 [batch]; `rows`: indices in
    the data, int64 [rows].
    """

    ids: NDArray[np.int32]
    mask: NDArray[np.int32]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    rows: NDArray[np.int64]


def training_batches(
    texts: TokenizedTexts,
    labels: NDArray[np.float32],
    *,
    batch_size: int,
    widths: Sequence[int],
    random: np.random.Generator,
    skip: int = 0,
) -> Iterator[Batch]:
    """Yield the batches of one epoch in random order, without the first `skip` batches.

    The rows are shuffled, then sorted by length within every 50 batches; then the batches are shuffled. With `widths`
    each batch has one of these widths, and `batch_size` rows.
    """
    order = random.permutation(len(texts))
    run = batch_size * SORTED_BATCHES
    groups = [
        group
        for first in range(0, len(order), run)
        for group in _by_length(texts, order[first : first + run], batch_size)
    ]
    for group in random.permutation(len(groups))[skip:]:
        yield _batch(texts, labels, groups[group], batch_size, widths)


def scoring_batches(
    texts: TokenizedTexts, labels: NDArray[np.float32], *, batch_size: int, widths: Sequence[int]
) -> Iterator[Batch]:
    """Yield batches of all rows, sorted by length over all of the data."""
    for rows in _by_length(texts, np.arange(len(texts)), batch_size):
        yield _batch(texts, labels, rows, batch_size, widths)


def _by_length(texts: TokenizedTexts, rows: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    in_order = rows[np.argsort(texts.lengths(rows), kind="stable")]
    return [in_order[first : first + batch_size] for first in range(0, len(in_order), batch_size)]


def _batch(
    texts: TokenizedTexts,
    labels: NDArray[np.float32],
    rows: NDArray[np.int64],
    batch_size: int,
    widths: Sequence[int],
) -> Batch:
    longest = int(texts.lengths(rows).max())
    width = next((width for width in widths if width >= longest), longest)
    filled = np.resize(rows, batch_size) if widths else rows  # again from the first row on
    ids, mask = texts.padded(filled, width)
    weights = (np.arange(len(filled)) < len(rows)).astype(np.float32)
    return Batch(ids, mask, labels[filled], weights, rows)
