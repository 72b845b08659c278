"""Random scores of two models on the same rows."""

import numpy as np

from ml.judge.statistics import Pair


def make_pair(rows=600, better=0.0, seed=0):
    """Make two models that disagree on some rows; scores have two decimals, so that many are equal."""
    random = np.random.default_rng(seed)
    target = (np.arange(rows) % 8 == 0).astype(int)
    evidence = random.normal(2.0 * target - 2, 1)
    candidate, champion = (
        np.round(1 / (1 + np.exp(-evidence - gain * (2 * target - 1) - random.normal(0, 0.5, rows))), 2)
        for gain in (better, 0.0)
    )
    return Pair(
        target=target,
        candidate_scores=candidate,
        champion_scores=champion,
        candidate_labels=candidate >= 0.5,
        champion_labels=champion >= 0.4,
    )
