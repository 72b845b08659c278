import numpy as np
import pytest

from ml.model.threshold import (
    OperatingPoint,
    choose_dominating_threshold,
    choose_threshold,
    operating_point,
    rows_as_in_service,
)

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


def test_a_dominating_threshold_makes_the_smaller_gain_as_large_as_can_be():
    # Precision and recall are 1 and 2/4 at 7/8, 3/4 and 3/4 at 5/8, 4/5 and 1 at 4/8.
    labels = np.array([1, 1, 0, 1, 1, 0, 0, 0], np.float32)
    scores = np.array([8, 7, 6, 5, 4, 3, 2, 1], np.float32) / 8

    assert choose_dominating_threshold(labels, scores, OperatingPoint(0.6, 0.4), positive_rate=0.5) == 4 / 8
    assert choose_dominating_threshold(labels, scores, OperatingPoint(0.9, 0.4), positive_rate=0.5) == 7 / 8


def test_without_a_dominating_threshold_f1_decides():
    assert choose_dominating_threshold(LABELS, SCORES, OperatingPoint(0.9, 0.9), positive_rate=2 / 6) == 0.5


def test_a_point_that_is_only_equalled_is_not_dominated():
    # At 0.9: precision 1, recall 1/2. The same precision is no gain, so F1 decides for 0.5.
    assert choose_dominating_threshold(LABELS, SCORES, OperatingPoint(1.0, 0.25), positive_rate=2 / 6) == 0.5


def test_the_operating_point_is_weighted_to_the_share_in_service():
    assert operating_point(LABELS, SCORES, 0.5, positive_rate=2 / 6) == OperatingPoint(pytest.approx(2 / 3), 1.0)
    # One of four negatives is flagged: of 100 rows in service 5 hits stand beside 95 / 4 false alarms.
    assert operating_point(LABELS, SCORES, 0.5, positive_rate=0.05) == OperatingPoint(pytest.approx(5 / 28.75), 1.0)


def test_precision_is_zero_where_nothing_is_flagged():
    assert operating_point(LABELS, SCORES, 0.95, positive_rate=0.5) == OperatingPoint(0.0, 0.0)


@pytest.mark.parametrize(("positives", "negatives", "taken"), [(40, 60, (7, 60)), (1, 99, (1, 9)), (10, 90, (10, 90))])
def test_rows_as_in_service_have_its_share_of_positives(positives, negatives, taken):
    labels = np.array([1] * positives + [0] * negatives, np.float32)
    rows = rows_as_in_service(labels, positive_rate=0.1)
    assert (int(labels[rows].sum()), int((labels[rows] == 0).sum())) == taken
    assert rows.tolist() == sorted(set(rows.tolist()))
