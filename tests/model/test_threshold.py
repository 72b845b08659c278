import numpy as np
import pytest

from ml.model.threshold import choose_threshold

LABELS = np.array([1, 0, 1, 0, 0, 0], np.float32)
SCORES = np.array([0.9, 0.75, 0.5, 0.25, 0.125, 0.0625], np.float32)


def test_the_threshold_maximises_f1_at_the_share_of_the_rows():
    # At 0.5: precision 2/3, recall 1, F1 0.8. At 0.9: precision 1, recall 1/2, F1 0.67.
    assert choose_threshold(LABELS, SCORES, positive_rate=2 / 6) == 0.5


def test_it_rises_where_positives_are_rarer_in_service():
    assert choose_threshold(LABELS, SCORES, positive_rate=0.05) == pytest.approx(0.9)


def test_of_equally_good_thresholds_the_highest_is_taken():
    assert choose_threshold(np.array([1, 0], np.float32), np.array([0.5, 0.5], np.float32), positive_rate=0.5) == 0.5


def test_equal_scores_get_the_same_label():
    labels, scores = np.array([1, 1, 0, 0], np.float32), np.array([0.5, 0.25, 0.25, 0.125], np.float32)
    assert choose_threshold(labels, scores, positive_rate=0.5) == 0.25
