import numpy as np
import pytest

from ml.errors import DataError
from ml.metrics import calibration_error, measure, precision_at_recall, row_losses

TARGET = np.array([1, 0, 1, 0, 0])
SCORES = np.array([0.9, 0.8, 0.6, 0.3, 0.1], dtype=np.float32)


def test_all_figures_of_five_rows_are_those_worked_out_by_hand():
    assert measure(TARGET, SCORES, 0.7) == {
        "precision": pytest.approx(1 / 2),
        "recall": pytest.approx(1 / 2),
        "f1": pytest.approx(1 / 2),
        # at 0.6: both positive rows, and one negative
        "best_f1": pytest.approx(4 / 5),
        "best_threshold": pytest.approx(0.6),
        "average_precision": pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3),
        "precision_at_recall_50": pytest.approx(1.0),
        "roc_auc": pytest.approx(5 / 6),
        # -(ln 0.9 + ln 0.2 + ln 0.6 + ln 0.7 + ln 0.9) / 5
        "log_loss": pytest.approx(0.5375318),
        # each row is alone in its bin: (0.1 + 0.8 + 0.4 + 0.3 + 0.1) / 5
        "calibration_error": pytest.approx(0.34),
        "calibration_slope": pytest.approx(1.06032, abs=1e-5),
        "true_positives": 1,
        "false_positives": 1,
        "false_negatives": 1,
        "true_negatives": 2,
    }


def test_a_score_on_the_threshold_is_labelled_positive():
    figures = measure(np.array([1, 0]), np.array([0.5, 0.4]), 0.5)

    assert (figures["true_positives"], figures["false_negatives"]) == (1, 0)


def test_precision_and_f1_are_zero_where_nothing_is_labelled_positive():
    figures = measure(TARGET, SCORES, 0.95)

    assert (figures["precision"], figures["recall"], figures["f1"]) == (0.0, 0.0, 0.0)


def test_precision_at_recall_is_the_highest_among_thresholds_of_enough_recall():
    target = np.array([0, 1, 1, 0, 1, 0])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])

    assert precision_at_recall(target, scores, 0.5) == pytest.approx(2 / 3)
    assert precision_at_recall(target, scores, 1.0) == pytest.approx(3 / 5)


def test_a_sure_and_wrong_score_costs_a_finite_loss():
    losses = row_losses(np.array([1, 0]), np.array([0.0, 0.0]))

    assert losses == pytest.approx([16.11809565, 1.0000000494736474e-07])


def test_calibration_error_weighs_each_bin_by_its_rows():
    target = np.array([1, 0, 0, 0, 1])
    scores = np.array([0.01, 0.02, 0.03, 0.04, 1.0])

    # four rows in the lowest bin: their mean is 0.025, a quarter of them is positive
    assert calibration_error(target, scores) == pytest.approx(4 / 5 * (0.25 - 0.025))


@pytest.mark.parametrize("target", [[0, 0], [1, 1]])
def test_rows_of_one_class_cannot_be_measured(target):
    with pytest.raises(DataError, match="rows of both classes"):
        measure(np.array(target), np.array([0.1, 0.9]), 0.5)


@pytest.mark.parametrize("score", [float("nan"), -0.1, 1.1])
def test_a_score_that_is_no_probability_is_refused(score):
    with pytest.raises(DataError, match="no probabilities"):
        measure(np.array([0, 1]), np.array([score, 0.9]), 0.5)
