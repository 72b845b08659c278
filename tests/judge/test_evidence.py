"""Evidence on pairs of models: figures, slices, and equal evidence for equal inputs."""

import numpy as np
import pytest

from ml.config import PolicyConfig
from ml.judge.evidence import slice_members, weigh
from ml.judge.statistics import Pair
from ml.metrics import measure
from ml.records import COMPARED_FIGURES, RareSlice
from tests.judge.examples import PAST, PROBE
from tests.judge.pairs import make_pair


def test_the_observed_differences_are_those_of_the_measured_figures():
    pair = make_pair()
    candidate = measure(pair.target, pair.candidate_scores, 0.5)
    champion = measure(pair.target, pair.champion_scores, 0.4)

    evidence = weigh(pair, {}, PolicyConfig(resamples=100), PROBE, PAST)

    assert list(evidence.figures) == list(COMPARED_FIGURES)
    for figure in COMPARED_FIGURES:
        assert evidence.figures[figure].difference == pytest.approx(candidate[figure] - champion[figure], abs=1e-12)


def test_rows_that_one_model_alone_labels_right_are_counted():
    pair = Pair(
        target=np.array([1, 1, 1, 0, 0]),
        candidate_scores=np.array([0.9, 0.8, 0.7, 0.1, 0.2]),
        champion_scores=np.array([0.9, 0.1, 0.2, 0.9, 0.1]),
        candidate_labels=np.array([True, True, True, False, True]),
        champion_labels=np.array([True, False, False, True, False]),
    )

    evidence = weigh(pair, {}, PolicyConfig(resamples=100), PROBE, PAST)

    assert (evidence.candidate_alone_right, evidence.champion_alone_right, evidence.mcnemar_p) == (3, 1, 0.625)


def test_a_much_better_model_is_surely_better_and_an_equal_one_is_not():
    policy = PolicyConfig(resamples=1000)

    assert weigh(make_pair(better=1.5), {}, policy, PROBE, PAST).figures["f1"].lower > 0.05
    assert weigh(make_pair(), {}, policy, PROBE, PAST).figures["f1"].lower < 0


def test_the_same_seed_gives_the_same_evidence():
    policy = PolicyConfig(resamples=100)

    assert weigh(make_pair(), {}, policy, PROBE, PAST) == weigh(make_pair(), {}, policy, PROBE, PAST)


def test_a_slice_is_compared_on_its_own_rows_and_a_rare_one_is_not():
    pair = make_pair()
    members = {"first half": np.arange(600) < 300, "ten": np.arange(600) < 10}

    slices = weigh(pair, members, PolicyConfig(resamples=100, min_slice_positives=20), PROBE, PAST).slices

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
