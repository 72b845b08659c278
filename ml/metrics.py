"""The metrics of a binary classifier on labelled rows: ranking, calibration, and labels at one threshold.

In every function, `target` is an integer array of 0 and 1, and `scores` is an array of probabilities of class 1. Both
have the shape [rows] and the same order.
"""

from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from ml.errors import DataError

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

CALIBRATION_BINS = 15
_LEAST_SPREAD, _MOST_STEPS, _PRECISION, _RIDGE = 1e-6, 30, 1e-8, 1e-9
_LOWEST_PROBABILITY = 1e-7  # the float32 below 1 is 1 - 6e-8: a score still closer to 1 is rounding


class Figures(TypedDict):
    """The result of `measure`; names and units are those of the record Evaluation."""

    precision: float
    recall: float
    f1: float
    best_f1: float
    best_threshold: float
    average_precision: float
    precision_at_recall_50: float
    roc_auc: float
    log_loss: float
    calibration_error: float
    calibration_slope: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


def measure(target: IntArray, scores: FloatArray, threshold: float) -> Figures:
    """Compute all metrics; raises DataError if all rows have one class or a score is not a probability.

    A row is labelled 1 if its score is at least `threshold`. Precision is 0 if no row is labelled 1.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score  # a second, and most steps measure nothing

    _refuse_unmeasurable(target, scores)
    labelled = scores >= threshold
    best_f1, best_threshold = _best_f1(target, scores)
    true_positives = int(np.sum(labelled & (target == 1)))
    false_positives = int(np.sum(labelled & (target == 0)))
    false_negatives = int(np.sum(~labelled & (target == 1)))
    return Figures(
        precision=true_positives / max(true_positives + false_positives, 1),
        recall=true_positives / (true_positives + false_negatives),
        f1=2 * true_positives / (2 * true_positives + false_positives + false_negatives),
        best_f1=best_f1,
        best_threshold=best_threshold,
        average_precision=float(average_precision_score(target, scores)),
        precision_at_recall_50=precision_at_recall(target, scores, 0.5),
        roc_auc=float(roc_auc_score(target, scores)),
        log_loss=float(row_losses(target, scores).mean()),
        calibration_error=calibration_error(target, scores),
        calibration_slope=calibration_slope(target, scores),
        true_positives=true_positives,
        false_positives=false_positives,
        false_negatives=false_negatives,
        true_negatives=len(target) - true_positives - false_positives - false_negatives,
    )


def precision_at_recall(target: IntArray, scores: FloatArray, recall: float) -> float:
    """Return the highest precision of all thresholds whose recall is at least `recall`.

    The result is exact; tf.keras.metrics.PrecisionAtRecall estimates it on a grid of 200 thresholds.
    """
    from sklearn.metrics import precision_recall_curve

    precisions, recalls, _ = precision_recall_curve(target, scores)
    return float(precisions[recalls >= recall].max())


def _best_f1(target: IntArray, scores: FloatArray) -> tuple[float, float]:
    """Return the highest F1 of any threshold, and the highest threshold that reaches it."""
    from sklearn.metrics import precision_recall_curve

    precisions, recalls, thresholds = precision_recall_curve(target, scores)
    f1 = 2 * precisions * recalls / np.maximum(precisions + recalls, np.finfo(np.float64).tiny)
    best = len(thresholds) - 1 - int(np.argmax(f1[-2::-1]))  # the last point of the curve has no threshold
    return float(f1[best]), float(thresholds[best])


def row_losses(target: IntArray, scores: FloatArray) -> FloatArray:
    """Return the log loss of each row in nats, shape [rows]; scores are clipped to [1e-7, 1 - 1e-7]."""
    clipped = _clip(scores)
    return -np.log(np.where(target == 1, clipped, 1 - clipped))


def calibration_slope(target: IntArray, scores: FloatArray) -> float:
    """Fit the labels by logistic regression on the scores' logits, and return the slope (Cox 1958, Biometrika 45, 562).

    It is 1 if scores are as sure as they are right, 1/5 if their logits are five times too large, and 0 if all scores
    are the same. If they separate the labels it has no bound, and the fit stops after a number of Newton's steps.
    """
    from scipy.special import expit, logit

    logits = logit(_clip(scores))
    spread = float(logits.std())
    if spread < _LEAST_SPREAD:
        return 0.0
    design = np.stack([np.ones(len(logits)), (logits - logits.mean()) / spread], axis=1)
    share = float(target.mean())
    line = np.array([np.log(share / (1 - share)), 0.0])
    for _ in range(_MOST_STEPS):
        fitted = expit(design @ line)
        curvature = (design.T * (fitted * (1 - fitted))) @ design + _RIDGE * np.eye(2)
        step = _shorten(np.linalg.solve(curvature, design.T @ (target - fitted)), line, design, target)
        line = line + step
        if np.abs(step).max() < _PRECISION:
            break
    return float(line[1] / spread)


def _shorten(step: FloatArray, line: FloatArray, design: FloatArray, target: IntArray) -> FloatArray:
    """Halve Newton's step until the labels are not less likely after it."""

    def loss(at: FloatArray) -> float:
        logits = design @ at
        return float(np.sum(np.logaddexp(0, logits) - target * logits))

    before = loss(line)
    for _ in range(_MOST_STEPS):
        if loss(line + step) <= before:
            break
        step = step / 2
    return step


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


def _clip(scores: FloatArray) -> FloatArray:
    return np.clip(scores.astype(np.float64), _LOWEST_PROBABILITY, 1 - _LOWEST_PROBABILITY)


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
