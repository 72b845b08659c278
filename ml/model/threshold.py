"""The decision threshold: where a probability becomes a label."""

import numpy as np
from numpy.typing import NDArray


def choose_threshold(labels: NDArray[np.float32], scores: NDArray[np.float32], *, positive_rate: float) -> float:
    """The score, of those seen, that maximises F1 when it and all higher ones are labelled 1; both arrays are [rows].

    Each row is weighted so that positives have the share `positive_rate` that they have in service: a correction for
    prior shift (Saerens et al. 2002, Neural Computation 14(1), 21-41). Of equal F1 the highest score is taken.
    """
    values, places = np.unique(scores, return_inverse=True)
    positives = np.bincount(places, weights=labels)[::-1].cumsum() / labels.sum() * positive_rate
    negatives = np.bincount(places, weights=1 - labels)[::-1].cumsum() / (1 - labels).sum() * (1 - positive_rate)
    f1 = 2 * positives / (positives + negatives + positive_rate)
    return float(values[::-1][np.argmax(f1)])
