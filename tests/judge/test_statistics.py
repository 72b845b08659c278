"""Intervals against figures worked out by hand, against scikit-learn, and against drawing the rows one by one."""

import numpy as np
import pytest

from ml.config import PolicyConfig
from ml.judge.evidence import FIGURES, RareSlice
from ml.judge.statistics import (
    RANKING_FIGURES,
    Pair,
    gather_evidence,
    interval,
    label_differences,
    mcnemar_p,
    ranking_differences,
    slice_members,
)
from ml.metrics import measure


def make_pair(rows=600, better=0.0, seed=0):
    """Two models that disagree on some rows; scores have two decimals, so that many are equal."""
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


def test_the_observed_differences_are_those_of_the_measured_figures():
    pair = make_pair()
    candidate = measure(pair.target, pair.candidate_scores, 0.5)
    champion = measure(pair.target, pair.champion_scores, 0.4)

    evidence = gather_evidence(pair, {}, PolicyConfig(resamples=100))

    assert list(evidence.figures) == list(FIGURES)
    for figure in FIGURES:
        assert evidence.figures[figure].difference == pytest.approx(candidate[figure] - champion[figure], abs=1e-12)


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
        # 2 (1 + 10) / 2^10: at most one head in ten throws, and its mirror image
        (1, 9, 22 / 1024),
        (9, 1, 22 / 1024),
    ],
)
def test_mcnemar_is_a_coin_for_each_discordant_row(candidate_alone, champion_alone, p):
    assert mcnemar_p(candidate_alone, champion_alone) == pytest.approx(p)


def test_rows_that_one_model_alone_labels_right_are_counted():
    pair = Pair(
        target=np.array([1, 1, 1, 0, 0]),
        candidate_scores=np.array([0.9, 0.8, 0.7, 0.1, 0.2]),
        champion_scores=np.array([0.9, 0.1, 0.2, 0.9, 0.1]),
        candidate_labels=np.array([True, True, True, False, True]),
        champion_labels=np.array([True, False, False, True, False]),
    )

    evidence = gather_evidence(pair, {}, PolicyConfig(resamples=100))

    assert (evidence.candidate_alone_right, evidence.champion_alone_right, evidence.mcnemar_p) == (3, 1, 0.625)


def test_a_much_better_model_is_surely_better_and_an_equal_one_is_not():
    policy = PolicyConfig(resamples=1000)

    assert gather_evidence(make_pair(better=1.5), {}, policy).figures["f1"].lower > 0.05
    assert gather_evidence(make_pair(), {}, policy).figures["f1"].lower < 0


def test_the_same_seed_gives_the_same_evidence():
    policy = PolicyConfig(resamples=100)

    assert gather_evidence(make_pair(), {}, policy) == gather_evidence(make_pair(), {}, policy)


def test_a_slice_is_compared_on_its_own_rows_and_a_rare_one_is_not():
    pair = make_pair()
    members = {"first half": np.arange(600) < 300, "ten": np.arange(600) < 10}

    slices = gather_evidence(pair, members, PolicyConfig(resamples=100, min_slice_positives=20)).slices

    candidate = measure(pair.target[:300], pair.candidate_scores[:300], 0.5)["f1"]
    champion = measure(pair.target[:300], pair.champion_scores[:300], 0.4)["f1"]
    assert (slices["first half"].rows, slices["first half"].positives) == (300, 38)
    assert slices["first half"].f1.difference == pytest.approx(candidate - champion)
    assert slices["ten"] == RareSlice(rows=10, positives=2)


def test_own_slices_stand_beside_the_built_in_ones():
    members = slice_members(["why cats", "dogs bark 2"], PolicyConfig(slices={"pets": "contains:cats|dogs"}))

    assert members["pets"].tolist() == [True, True]
    assert members["contains a number"].tolist() == [False, True]
    assert members["first word why"].tolist() == [True, False]
