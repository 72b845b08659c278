"""Compute how sure a difference between two models on the same rows is.

The method is the paired, stratified bootstrap (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13;
for two systems on one test set Koehn 2004, aclanthology.org/W04-3250): rows are sampled with replacement, the same rows
for both models, and each class keeps its number of rows. A bound is a percentile of the differences over all resamples.

In all functions `target` is an integer array of 0 and 1 of shape [rows]; labels are boolean and scores are
probabilities, of the same shape and order; a difference is the candidate's figure minus the champion's figure.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.stats import binom

from ml.metrics import CALIBRATION_BINS, FloatArray, IntArray, calibration_bins, row_losses
from ml.progress import progress
from ml.records import COMPARED_FIGURES, Interval

BoolArray = npt.NDArray[np.bool_]

Differences = dict[str, tuple[float, FloatArray]]
RANKING_FIGURES = COMPARED_FIGURES[3:]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two models on the same rows: targets, scores and labels, all of shape [rows]."""

    target: IntArray
    candidate_scores: FloatArray
    champion_scores: FloatArray
    candidate_labels: BoolArray
    champion_labels: BoolArray


def interval(difference: float, resampled: FloatArray, confidence: float) -> Interval:
    """Add one-sided percentile bounds to a difference; both bounds together have the confidence 2 x confidence - 1."""
    lower, upper = np.quantile(resampled, (1 - confidence, confidence))
    return Interval(difference=difference, lower=float(lower), upper=float(upper))


def mcnemar_p(candidate_alone_right: int, champion_alone_right: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    Its null hypothesis: each row that only one model labels right is a toss of a fair coin. McNemar 1947,
    Psychometrika 12(2), 153-157; recommended for two classifiers on one test set by Dietterich 1998, Neural Computation
    10(7), 1895-1923.
    """
    smaller, discordant = min(candidate_alone_right, champion_alone_right), candidate_alone_right + champion_alone_right
    return float(min(1.0, 2 * binom.cdf(smaller, discordant, 0.5)))


def label_differences(
    target: IntArray, candidate: BoolArray, champion: BoolArray, *, resamples: int, random: np.random.Generator
) -> Differences:
    """Return the differences in precision, recall and F1: as observed, and resampled, of shape [resamples].

    Each row is in one of four cells of its class: the candidate labels it 1 or not, and so does the champion. Instead
    of rows, the counts of the cells are sampled, from a multinomial: this has the same distribution and is far faster.
    """
    counts = _count_cells(target, candidate, champion)
    samples = [random.multinomial(each.sum(), each / max(each.sum(), 1), size=resamples) for each in counts]
    observed, resampled = _rate_differences(*counts), _rate_differences(*samples)
    return {figure: (float(observed[figure]), resampled[figure]) for figure in observed}


def both_higher(target: IntArray, candidate: BoolArray, champion: BoolArray) -> bool:
    """Tell whether the candidate's precision and recall are both higher than the champion's."""
    differences = _rate_differences(*_count_cells(target, candidate, champion))
    return bool(differences["precision"] > 0 and differences["recall"] > 0)


def ranking_differences(
    target: IntArray, candidate: FloatArray, champion: FloatArray, *, resamples: int, random: np.random.Generator
) -> Differences:
    """Return the differences in RANKING_FIGURES: as observed, and resampled, of shape [resamples]."""
    order = np.argsort(-target, kind="stable")
    models = [_Ranking.of(target[order], scores[order]) for scores in (candidate, champion)]
    resampled = np.empty((resamples, len(RANKING_FIGURES)))
    with progress("resample the test rows", resamples, " resamples") as bar:
        for row in range(resamples):
            weights = _resample(target, random)
            ours, theirs = (model.figures(weights) for model in models)
            resampled[row] = ours - theirs
            bar.update()
    ours, theirs = (model.figures(np.ones(len(target))) for model in models)
    return {
        figure: (float(ours[column] - theirs[column]), resampled[:, column])
        for column, figure in enumerate(RANKING_FIGURES)
    }


def _count_cells(target: IntArray, candidate: BoolArray, champion: BoolArray) -> list[IntArray]:
    """Count the positive and the negative rows that neither model, the champion, the candidate or both label 1.

    Each of the two arrays is [4], in this order.
    """
    cells = 2 * candidate.astype(int) + champion
    return [np.bincount(cells[target == label], minlength=4) for label in (1, 0)]


def _rate_differences(positives: IntArray, negatives: IntArray) -> dict[str, FloatArray]:
    """Compute the differences in precision, recall and F1 from the counts of the cells, [..., 4]."""
    ours, theirs = (_rates(positives, negatives, cells) for cells in ([2, 3], [1, 3]))
    return {figure: ours[figure] - theirs[figure] for figure in ours}


def _rates(positives: IntArray, negatives: IntArray, flagged: list[int]) -> dict[str, FloatArray]:
    hits, false_alarms = positives[..., flagged].sum(axis=-1), negatives[..., flagged].sum(axis=-1)
    total = positives.sum(axis=-1)
    return {
        "precision": hits / np.maximum(hits + false_alarms, 1),
        "recall": hits / total,
        "f1": 2 * hits / (hits + false_alarms + total),
    }


def _resample(target: IntArray, random: np.random.Generator) -> FloatArray:
    """Sample rows with replacement within each class, and count each row's occurrences, positives first, [rows]."""
    positives = int(target.sum())
    sizes = (positives, len(target) - positives)
    return np.concatenate([np.bincount(random.integers(size, size=size), minlength=size) for size in sizes]) * 1.0


@dataclass(frozen=True)
class _Ranking:
    """One model's scores, sorted into bins once: then the figures under any weights of the rows are sums over bins.

    A precision-recall curve changes only at the distinct scores of positive rows. These scores are the steps, highest
    first. `positive_step` is [positives]: each row's step. `negative_bin` is [negatives]: 2 x step if the row's score
    is above the step's score (but below that of the step before), 2 x step + 1 if both scores are equal. `sums` is
    [calibration bins + 1, rows]: score minus target, in the row of its bin; the last row has the losses.
    """

    steps: int
    positive_step: npt.NDArray[np.intp]
    negative_bin: npt.NDArray[np.intp]
    sums: sparse.csr_array

    @classmethod
    def of(cls, target: IntArray, scores: FloatArray) -> "_Ranking":
        """Sort scores into bins; the positive rows come first."""
        positives = int(target.sum())
        thresholds, ascending = np.unique(scores[:positives], return_inverse=True)
        steps, below = len(thresholds), scores[positives:]
        equal_or_above = np.searchsorted(thresholds, below, side="right")
        tied = thresholds[np.maximum(equal_or_above - 1, 0)] == below
        places = np.concatenate([calibration_bins(scores), np.full(len(target), CALIBRATION_BINS)])
        values = np.concatenate([scores - target, row_losses(target, scores)])
        columns = np.tile(np.arange(len(target)), 2)
        return cls(
            steps=steps,
            positive_step=steps - 1 - ascending,
            negative_bin=2 * (steps - equal_or_above) + tied,
            sums=sparse.csr_array((values, (places, columns)), shape=(CALIBRATION_BINS + 1, len(target))),
        )

    def figures(self, weights: FloatArray) -> FloatArray:
        """Compute RANKING_FIGURES, [figures], where each row counts as often as its weight says."""
        positives, total = len(self.positive_step), len(weights)
        found = np.bincount(self.positive_step, weights=weights[:positives], minlength=self.steps)
        hits = found.cumsum()
        alarms = np.bincount(self.negative_bin, weights=weights[positives:], minlength=2 * self.steps + 1).cumsum()
        above, at_least = alarms[:-1:2], alarms[1::2]
        precisions = hits / np.maximum(hits + at_least, 1)
        *surplus, loss = self.sums @ weights / total
        return np.array(
            [
                np.sum(precisions * found) / positives,
                precisions[2 * hits >= positives].max(),
                1 - np.sum((above + at_least) * found) / (2 * positives * (total - positives)),
                loss,
                np.abs(surplus).sum(),
            ]
        )
