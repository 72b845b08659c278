"""The metrics of a binary classifier on labelled rows: ranking, calibration, and labels at one threshold.

In every function, `target` is an integer array of 0 and 1, and `scores` is an array of probabilities of class 1. Both
have the shape [rows] and the same order.
"""

from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from ml.errors import DataError

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

CALIBRATION_BINS = 15
_LOWEST_PROBABILITY = 1e-7  # the float32 below 1 is 1 - 6e-8: a score still closer to 1 is rounding


class Figures(TypedDict):
    """The result of `measure`; names and units are those of the record Evaluation."""

    precision: float
    recall: float
    f1: float
    average_precision: float
    precision_at_recall_50: float
    roc_auc: float
    log_loss: float
    calibration_error: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


def measure(target: IntArray, scores: FloatArray, threshold: float) -> Figures:
    """Compute all metrics; raises DataError if all rows have one class or a score is not a probability.

    A row is labelled 1 if its score is at least `threshold`. Precision is 0 if no row is labelled 1.
    """
    _refuse_unmeasurable(target, scores)
    labelled = scores >= threshold
    true_positives = int(np.sum(labelled & (target == 1)))
    false_positives = int(np.sum(labelled & (target == 0)))
    false_negatives = int(np.sum(~labelled & (target == 1)))
    return Figures(
        precision=true_positives / max(true_positives + false_positives, 1),
        recall=true_positives / (true_positives + false_negatives),
        f1=2 * true_positives / (2 * true_positives + false_positives + false_negatives),
        average_precision=float(average_precision_score(target, scores)),
        precision_at_recall_50=precision_at_recall(target, scores, 0.5),
        roc_auc=float(roc_auc_score(target, scores)),
        log_loss=float(row_losses(target, scores).mean()),
        calibration_error=calibration_error(target, scores),
        true_positives=true_positives,
        false_positives=false_positives,
        false_negatives=false_negatives,
        true_negatives=len(target) - true_positives - false_positives - false_negatives,
    )


def precision_at_recall(target: IntArray, scores: FloatArray, recall: float) -> float:
    """Return the highest precision of all thresholds whose recall is at least `recall`.

    The result is exact; tf.keras.metrics.PrecisionAtRecall estimates it on a grid of 200 thresholds.
    """
    precisions, recalls, _ = precision_recall_curve(target, scores)
    return float(precisions[recalls >= recall].max())


def row_losses(target: IntArray, scores: FloatArray) -> FloatArray:
    """Return the log loss of each row in nats, shape [rows]; scores are clipped to [1e-7, 1 - 1e-7]."""
    clipped = np.clip(scores.astype(np.float64), _LOWEST_PROBABILITY, 1 - _LOWEST_PROBABILITY)
    return -np.log(np.where(target == 1, clipped, 1 - clipped))


def calibration_error(target: IntArray, scores: FloatArray) -> float:
    """Return the expected calibration error in 15 bins of equal width (Guo et al. 2017, arXiv:1706.04599, equation 3).

    The error of a bin is the distance between its mean probability of class 1 and its share of positives. The bins are
    weighted by their rows.
    """
    weights = scores.astype(np.float64) - target
    surplus = np.bincount(calibration_bins(scores), weights=weights, minlength=CALIBRATION_BINS)
    return float(np.abs(surplus).sum() / len(target))


def calibration_bins(scores: FloatArray) -> npt.NDArray[np.intp]:
    """Return the bin of each score, 0 to 14, shape [rows]."""
    return np.minimum((scores * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)


def _refuse_unmeasurable(target: IntArray, scores: FloatArray) -> None:
    positives = int(target.sum())
    if not 0 < positives < len(target):
        raise DataError(
            f"{positives} of {len(target)} rows are positive: a figure needs rows of both classes",
            where="the rows that a model is measured on",
            fix="pull more data, or raise the fraction split.test",
        )
    if not np.all((scores >= 0) & (scores <= 1)):
        raise DataError(
            "some scores are no probabilities (not a number, or outside of 0 to 1)",
            where="the scores of a model",
            fix="look at the loss in the training log; train with a lower train.learning_rate",
        )
