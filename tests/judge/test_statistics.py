"""Statistics compared with figures worked out by hand, with scikit-learn, and with a bootstrap row by row."""

import numpy as np
import pytest

from ml.judge.statistics import (
    RANKING_FIGURES,
    interval,
    label_differences,
    mcnemar_p,
    ranking_differences,
)
from ml.metrics import measure
from tests.judge.pairs import make_pair


def test_resampled_figures_are_those_of_the_rows_that_were_drawn():
    pair = make_pair()
    order = np.argsort(-pair.target, kind="stable")
    random = np.random.default_rng(7)
    drawn = np.concatenate([random.integers(75, size=75), 75 + random.integers(525, size=525)])
    rows = order[drawn]
    candidate, champion = (
        measure(pair.target[rows], scores[rows], 0.5) for scores in (pair.candidate_scores, pair.champion_scores)
    )

    differences = ranking_differences(
        pair.target, pair.candidate_scores, pair.champion_scores, resamples=1, random=np.random.default_rng(7)
    )

    for figure in RANKING_FIGURES:
        assert differences[figure][1][0] == pytest.approx(candidate[figure] - champion[figure], abs=1e-12)


def test_drawing_cells_gives_the_intervals_that_drawing_rows_gives():
    pair = make_pair()
    by_cells = label_differences(
        pair.target, pair.candidate_labels, pair.champion_labels, resamples=4000, random=np.random.default_rng(0)
    )
    random = np.random.default_rng(1)
    groups = [np.flatnonzero(pair.target == label) for label in (1, 0)]
    by_rows = []
    for _ in range(4000):
        rows = np.concatenate([random.choice(group, len(group)) for group in groups])
        hits = (pair.target[rows, None] == 1) & np.c_[pair.candidate_labels, pair.champion_labels][rows]
        flagged = np.c_[pair.candidate_labels, pair.champion_labels][rows].sum(axis=0)
        f1 = 2 * hits.sum(axis=0) / (flagged + 75)
        by_rows.append(f1[0] - f1[1])

    assert np.quantile(by_cells["f1"][1], [0.05, 0.5, 0.95]) == pytest.approx(
        np.quantile(by_rows, [0.05, 0.5, 0.95]), abs=0.003
    )


def test_the_bounds_are_one_sided_percentiles():
    found = interval(0.5, np.arange(101) / 100, confidence=0.95)

    assert (found.difference, found.lower, found.upper) == (0.5, pytest.approx(0.05), pytest.approx(0.95))


@pytest.mark.parametrize(
    ("candidate_alone", "champion_alone", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        # 2 (1 + 10) / 2^10: at most one head in ten coin tosses, and likewise at most one tail
        (1, 9, 22 / 1024),
        (9, 1, 22 / 1024),
    ],
)
def test_mcnemar_is_a_coin_for_each_discordant_row(candidate_alone, champion_alone, p):
    assert mcnemar_p(candidate_alone, champion_alone) == pytest.approx(p)
