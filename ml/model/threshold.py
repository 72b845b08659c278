"""Choose the decision threshold: a row whose score is at least the threshold is labelled 1.

In all functions `labels` and `scores` are [rows]. Rows are weighted so that the share of positives is `positive_rate`,
as in service: a correction for prior shift (Saerens et al. 2002, Neural Computation 14(1), 21-41).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class OperatingPoint:
    """A model's precision and recall at one threshold."""

    precision: float
    recall: float

    def __str__(self) -> str:
        return f"precision {self.precision:.4f}, recall {self.recall:.4f}"


_NOTHING_FLAGGED = OperatingPoint(precision=0.0, recall=0.0)


def choose_threshold(labels: Float32Array, scores: Float32Array, *, positive_rate: float) -> float:
    """Return the score that maximises F1 as the threshold; if several do, the highest of them."""
    thresholds, precisions, recalls = _curve(labels, scores, positive_rate)
    return float(thresholds[np.argmax(_f1(precisions, recalls))])


def choose_dominating_threshold(
    labels: Float32Array, scores: Float32Array, champion: OperatingPoint, *, positive_rate: float
) -> float:
    """Return the score that, as the threshold, maximises the smaller of the gains in precision and in recall.

    Both gains are over the champion's point. If no score makes both positive, return the score that maximises F1.
    """
    thresholds, precisions, recalls = _curve(labels, scores, positive_rate)
    smaller_gains = np.minimum(precisions - champion.precision, recalls - champion.recall)
    best = np.argmax(smaller_gains)
    if smaller_gains[best] > 0:
        return float(thresholds[best])
    return choose_threshold(labels, scores, positive_rate=positive_rate)


def operating_point(
    labels: Float32Array, scores: Float32Array, threshold: float, *, positive_rate: float
) -> OperatingPoint:
    """Return precision and recall at a threshold; both are 0 if no score reaches the threshold."""
    thresholds, precisions, recalls = _curve(labels, scores, positive_rate)
    reached = np.count_nonzero(thresholds >= threshold)
    return OperatingPoint(float(precisions[reached - 1]), float(recalls[reached - 1])) if reached else _NOTHING_FLAGGED


def rows_as_in_service(labels: Float32Array, *, positive_rate: float) -> IntArray:
    """Return row numbers, ascending: all rows of one class, and of the other as many as the share in service wants."""
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    odds = positive_rate / (1 - positive_rate)
    if len(negatives) * odds <= len(positives):
        positives = _evenly(positives, len(negatives) * odds)
    else:
        negatives = _evenly(negatives, len(positives) / odds)
    return np.sort(np.concatenate([positives, negatives]))


def _evenly(rows: IntArray, wanted: float) -> IntArray:
    """Take so many rows at even distances, one at least."""
    return rows[np.linspace(0, len(rows) - 1, max(1, round(wanted))).astype(np.int64)]


def _curve(
    labels: Float32Array, scores: Float32Array, positive_rate: float
) -> tuple[Float32Array, FloatArray, FloatArray]:
    """Return the distinct scores, highest first, with precision and recall at each; all [distinct scores]."""
    order = np.argsort(-scores)
    thresholds, hits = scores[order], labels[order].cumsum(dtype=np.float64)
    last_of_equals = np.append(thresholds[1:] != thresholds[:-1], True)
    recalls = hits / hits[-1]
    false_alarms = (np.arange(1, len(hits) + 1) - hits) / (len(hits) - hits[-1])
    positives, negatives = recalls * positive_rate, false_alarms * (1 - positive_rate)
    precisions = positives / (positives + negatives)
    return thresholds[last_of_equals], precisions[last_of_equals], recalls[last_of_equals]


def _f1(precisions: FloatArray, recalls: FloatArray) -> FloatArray:
    """Return the harmonic mean; it is 0 where both are 0."""
    return 2 * precisions * recalls / np.maximum(precisions + recalls, np.finfo(np.float64).tiny)
