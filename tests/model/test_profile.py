"""What rows were like, and how far others are from them: counted by hand, and against chance."""

import numpy as np
import pytest

from ml.model.profile import distribution_shift, profile_of, share_rise, share_shift, tally_beside
from ml.records import Histogram, Profile, UnknownProfile


def profile(scores, texts=None, threshold=0.5) -> Profile:
    scores = np.asarray(scores, np.float32)
    return profile_of(texts or ["abc"] * len(scores), scores, threshold)


def test_bins_are_the_tenths_of_the_rows_and_their_edges_lie_between_two_scores():
    found = profile(np.arange(20) / 20).scores
    np.testing.assert_allclose(found.edges, [0.025 + tenth / 10 - 0.05 for tenth in range(1, 10)], atol=1e-6)
    assert sum(found.counts) == 20
    assert set(found.counts) == {2}


def test_equal_scores_stay_in_one_bin_and_are_never_a_shift():
    same = profile([0.25] * 50)
    assert same.scores == Histogram(edges=(), counts=(50,))
    assert distribution_shift(Histogram(edges=(), counts=(7,)), same.scores) == 0.0


def test_texts_are_counted_without_being_kept():
    texts = ["", "  ", "abcd", "Is that a caf\u00c3\u00a9?"]
    found = profile([0.1, 0.5, 0.6, 0.2], texts)
    assert (found.rows, found.flagged, found.empty, found.damaged) == (4, 2, 2, 1)


def test_a_tally_in_parts_is_that_of_the_whole():
    random = np.random.default_rng(0)
    scores, texts = random.random(1000).astype(np.float32), ["a" * int(n) for n in random.integers(0, 90, 1000)]
    then = profile_of(texts, scores, 0.5)
    tally = tally_beside(then, 0.5)
    for first in range(0, 1000, 300):
        tally.add(texts[first : first + 300], scores[first : first + 300])
    assert tally.profile() == then


def test_a_row_without_text_has_a_length_and_no_score():
    tally = tally_beside(profile([0.1, 0.9], ["a", "abc"]), 0.5)
    tally.add(["abc"], np.array([0.9], np.float32))
    tally.add_missing(2)
    found = tally.profile()
    assert (found.rows, found.empty, found.lengths.counts, found.scores.counts) == (3, 2, (2, 1), (0, 1))


def test_where_nothing_is_known_of_training_rows_are_counted_all_the_same():
    tally = tally_beside(UnknownProfile(), 0.5)
    tally.add(["abc", ""], np.array([0.9, 0.1], np.float32))
    assert (tally.profile().rows, tally.profile().flagged, tally.profile().scores.counts) == (2, 1, (2,))


def test_no_rows_are_a_profile_too():
    assert tally_beside(UnknownProfile(), 0.5).profile().rows == 0


def shift(now, then):
    edges = tuple(float(edge) for edge in range(len(then) - 1))
    return distribution_shift(Histogram(edges=edges, counts=now), Histogram(edges=edges, counts=then))


def test_a_shift_is_the_stability_index_without_what_chance_explains():
    # 0.2 ln 3 from each of the two bins, less 10.83 (chi-squared of one degree at 99.9 %) for 1000 and 1000 rows.
    assert shift((400, 600), (600, 400)) == pytest.approx(0.4 * np.log(1.5) - 10.828 * 2e-3, abs=1e-3)
    assert shift((4, 6), (600, 400)) == 0.0, "ten rows tell nothing"


def test_shares_are_apart_by_what_their_intervals_leave():
    assert share_shift(62, 1000, 650, 10_000) == 0.0
    assert share_shift(150, 1000, 650, 10_000) == pytest.approx(0.0505, abs=2e-3)
    assert share_shift(0, 1000, 650, 10_000) == pytest.approx(0.0519, abs=5e-4)
    assert share_shift(1, 5, 650, 10_000) == 0.0, "five rows tell next to nothing"
    assert share_shift(0, 5, 0, 5) == 0.0
    assert share_rise(150, 1000, 650, 10_000) == share_shift(150, 1000, 650, 10_000)
    assert share_rise(0, 1000, 650, 10_000) == 0.0


def test_rows_of_the_same_kind_hardly_ever_alarm_and_others_do():
    random = np.random.default_rng(0)
    then = profile(random.beta(0.4, 6, 2000))
    tallies = [tally_beside(then, 0.5) for _ in range(300)]
    for tally in tallies:
        tally.add(["abc"] * 300, random.beta(0.4, 6, 300).astype(np.float32))
    shifts = [distribution_shift(tally.profile().scores, then.scores) for tally in tallies]
    assert sum(value > 0 for value in shifts) <= 3

    other = tally_beside(then, 0.5)
    other.add(["abc"] * 300, random.beta(1.2, 4, 300).astype(np.float32))
    assert distribution_shift(other.profile().scores, then.scores) > 0.1
