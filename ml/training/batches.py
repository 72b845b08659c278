"""Make batches of texts of similar length, and pad each to its own longest text or to one of a few widths.

A question has 18 tokens on average; with padding to the limit of 128, most of the work would be on padding.

Batches can be brought to a GPU ahead of the steps that need them. TensorFlow copies to a GPU only once that has done
all work that was asked of it before: a copy that a step waits for lets the GPU idle between two steps.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ml.encoder.tokenizer import TokenizedTexts

SORTED_BATCHES = 50
_AHEAD = 2  # while one step computes, the next is being begun, and the batch after it copied

Tensors = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
Place = Callable[[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]], Tensors]


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


class PlacedBatch(NamedTuple):
    """A batch on the device: `tensors` as `place` returns them; `rows` are those of the `Batch`."""

    tensors: Tensors
    rows: NDArray[np.int64]


def place(ids: tf.Tensor, mask: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> Tensors:
    """Return ids and mask, int64 [rows, 2, width], labels and weights, float32 [rows, 2], and the sum of the weights.

    What the host computes is copied from pinned memory. TensorFlow keeps int32 on the host, but not int64.
    """
    with tf.device("CPU:0"):
        parts = tf.cast(tf.stack([ids, mask], 1), tf.int64), tf.stack([labels, weights], 1), tf.reduce_sum(weights)
    with tf.device("GPU:0"):
        tokens, truths, rows = (tf.identity(part) for part in parts)
    return tokens, truths, rows


def place_ahead(batches: Iterable[Batch], place: Place) -> Iterator[PlacedBatch]:
    """Place each batch in a thread of its own, some steps before it is yielded."""
    waiting: deque[Future[PlacedBatch]] = deque()
    with ThreadPoolExecutor(1, "place") as worker:
        for batch in batches:
            waiting.append(worker.submit(placed, batch, place))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def placed(batch: Batch, place: Place) -> PlacedBatch:
    """Place one batch now."""
    with tf.device("CPU:0"):
        parts = [tf.convert_to_tensor(part) for part in (batch.ids, batch.mask, batch.labels, batch.weights)]
    return PlacedBatch(place(*parts), batch.rows)
