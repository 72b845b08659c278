"""The profile of rows that a model has scored: what is usual for the model, and how far other rows are from it.

A champion's profile is that of its validation rows, at the share of positives in service: they come from the file that
it was trained on, and its weights were not fitted to them. On training rows, scores are too sure. The bins hold a tenth
of these rows each.

How far two distributions are apart is the population stability index, the sum of (p - q) ln(p / q) over the bins
(Siddiqi 2006, Credit Risk Scorecards; as a divergence: Jeffreys 1946, Proc. R. Soc. A 186, 453-461). Of two samples of
n and m rows from one distribution in B bins, it is about (1/n + 1/m) times a chi-squared of B - 1 degrees of freedom
(Yurdakul and Naranjo 2020, Journal of Risk Model Validation 14(4), 89-100): by a fixed bound alone, small files would
alarm by chance. So what chance explains is taken off first; `python -m benchmarks watch` counts the false alarms.
"""

from collections.abc import Sequence
from functools import cache
from math import sqrt
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from ml.data import text_measures
from ml.records import Histogram, KnownProfile, Profile

Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CONFIDENCE = 0.999  # of each single figure: chance alone gives one above 0 in one of a thousand files
_TENTHS = np.arange(1, 10) / 10
_HALF_A_ROW = 0.5
_NO_EDGES: tuple[float, ...] = ()


class Tally:
    """Counts rows as they are scored; its memory does not grow with them."""

    def __init__(self, threshold: float, *, scores: Sequence[float], lengths: Sequence[float]) -> None:
        self._threshold = threshold
        self._edges = {"scores": np.asarray(scores, np.float64), "lengths": np.asarray(lengths, np.float64)}
        self._counts = {name: np.zeros(len(edges) + 1, np.int64) for name, edges in self._edges.items()}
        self._rows = self._flagged = self._empty = self._damaged = 0

    def add(self, texts: Sequence[str], scores: Float32Array) -> None:
        """Count texts and their scores, [texts]."""
        column = _column(texts)
        lengths = _lengths(column)
        self._rows += len(texts)
        self._flagged += int(np.count_nonzero(scores >= self._threshold))
        self._empty += int(np.count_nonzero(lengths == 0))
        self._damaged += int(text_measures.damaged(column).to_numpy().sum())
        self._count("scores", scores)
        self._count("lengths", lengths)

    def add_missing(self, rows: int) -> None:
        """Count rows whose text is missing."""
        self._rows += rows
        self._empty += rows
        self._count("lengths", np.zeros(rows))

    def profile(self) -> Profile:
        """Return what was counted."""
        return Profile(
            rows=self._rows,
            flagged=self._flagged,
            empty=self._empty,
            damaged=self._damaged,
            scores=self._histogram("scores"),
            lengths=self._histogram("lengths"),
        )

    def _count(self, name: str, values: NDArray[Any]) -> None:
        edges = self._edges[name]
        bins = np.searchsorted(edges, values, side="right")
        self._counts[name] += np.bincount(bins, minlength=len(edges) + 1)

    def _histogram(self, name: str) -> Histogram:
        return Histogram(edges=tuple(self._edges[name].tolist()), counts=tuple(self._counts[name].tolist()))


def profile_of(texts: Sequence[str], scores: Float32Array, threshold: float) -> Profile:
    """Return the profile of a model's own rows, whose tenths are the bins; `scores` are [texts]."""
    tally = Tally(threshold, scores=_tenths(scores), lengths=_tenths(_lengths(_column(texts))))
    tally.add(texts, scores)
    return tally.profile()


def tally_beside(then: KnownProfile, threshold: float) -> Tally:
    """Return an empty tally in the bins of another profile; where that is unknown, all rows are in one bin."""
    if isinstance(then, Profile):
        return Tally(threshold, scores=then.scores.edges, lengths=then.lengths.edges)
    return Tally(threshold, scores=_NO_EDGES, lengths=_NO_EDGES)


def distribution_shift(now: Histogram, then: Histogram) -> float:
    """Return the population stability index beyond what chance explains; 0 if chance explains all of it.

    Each bin has half a row more, so that none is empty.
    """
    bins = len(now.counts)
    if bins == 1:
        return 0.0
    shares = [_shares(now), _shares(then)]
    index = float(np.sum((shares[0] - shares[1]) * np.log(shares[0] / shares[1])))
    chance = _largest_by_chance(bins) * (1 / max(1, sum(now.counts)) + 1 / max(1, sum(then.counts)))
    return max(0.0, index - chance)


def share_shift(now: int, of_now: int, then: int, of_then: int) -> float:
    """Return how far two shares of rows are apart at least, whichever is higher; 0 if chance explains it."""
    return max(share_rise(now, of_now, then, of_then), share_rise(then, of_then, now, of_now))


def share_rise(now: int, of_now: int, then: int, of_then: int) -> float:
    """Return by how much a share of rows is higher than another at least: the lower end of the difference's interval.

    The interval is Newcombe's hybrid of two score intervals (1998, Statistics in Medicine 17, 873-890, method 10).
    """
    share, then_share = now / of_now, then / of_then
    low, _ = _wilson(now, of_now)
    _, then_high = _wilson(then, of_then)
    return max(0.0, share - then_share - sqrt((share - low) ** 2 + (then_high - then_share) ** 2))


def _wilson(count: int, rows: int) -> tuple[float, float]:
    """Return the score interval of a share (Wilson 1927, JASA 22, 209-212)."""
    z, share = _deviations(), count / rows
    centre = share + z * z / (2 * rows)
    width = z * sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    scale = 1 + z * z / rows
    return (centre - width) / scale, (centre + width) / scale


@cache
def _largest_by_chance(bins: int) -> float:
    return float(chi2.ppf(CONFIDENCE, bins - 1))


@cache
def _deviations() -> float:
    return float(norm.ppf((1 + CONFIDENCE) / 2))


def _shares(histogram: Histogram) -> FloatArray:
    counts = np.asarray(histogram.counts, np.float64) + _HALF_A_ROW
    return np.asarray(counts / counts.sum())


def _tenths(values: NDArray[Any]) -> list[float]:
    """Return edges between the tenths of the values, each midway between two values: so equal values stay together."""
    ordered = np.sort(values.astype(np.float64))
    distinct = np.unique(ordered)
    between = (distinct[1:] + distinct[:-1]) / 2
    places = np.searchsorted(distinct, ordered[(_TENTHS * len(ordered)).astype(np.int64)])
    return [float(edge) for edge in np.unique(between[places[places > 0] - 1])]


def _column(texts: Sequence[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.string())])


def _lengths(column: pa.ChunkedArray) -> IntArray:
    return np.asarray(text_measures.characters(column).to_numpy(), np.int64)
