from dataclasses import replace

import pytest

from ml.config import PolicyConfig
from ml.errors import LineageError
from ml.gate.policy import judge
from ml.records import AbsentChampion, RuleCheck
from tests.gate.examples import CHAMPION, EVALUATION, RIVAL

POLICY = PolicyConfig(min_precision=0.5, min_recall=0.4, min_average_precision=0.5)


def test_a_candidate_higher_on_both_figures_is_promoted():
    judgement = judge(EVALUATION, RIVAL, POLICY)

    assert judgement.verdict == "promote"
    assert judgement.reason == "Precision and recall are both higher than those of champion v1; every floor is reached."
    assert judgement.checks == (
        RuleCheck(rule="precision floor", observed="0.7000", required="at least 0.5000", passed=True),
        RuleCheck(rule="recall floor", observed="0.6000", required="at least 0.4000", passed=True),
        RuleCheck(rule="average precision floor", observed="0.6800", required="at least 0.5000", passed=True),
        RuleCheck(rule="precision gain", observed="0.7000 (+0.05)", required="higher than 0.6500", passed=True),
        RuleCheck(rule="recall gain", observed="0.6000 (+0.05)", required="higher than 0.5500", passed=True),
    )


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"precision": 0.65}, "Champion v1 stays: the candidate shows no precision gain."),
        ({"recall": 0.54}, "Champion v1 stays: the candidate shows no recall gain."),
        (
            {"precision": 0.6, "recall": 0.55},
            "Champion v1 stays: the candidate shows no precision gain and recall gain.",
        ),
    ],
)
def test_a_figure_that_is_equal_or_lower_keeps_the_champion(figures, reason):
    judgement = judge(replace(EVALUATION, **figures), RIVAL, POLICY)

    assert (judgement.verdict, judgement.reason) == ("keep", reason)


def test_a_gain_too_small_for_four_decimals_is_told_from_none():
    judgement = judge(replace(EVALUATION, precision=0.65001), RIVAL, POLICY)

    assert judgement.verdict == "promote"
    assert judgement.checks[3].observed == "0.6500 (+1e-05)"


def test_a_missed_floor_blocks_a_candidate_that_beats_the_champion():
    judgement = judge(replace(EVALUATION, average_precision=0.4999), RIVAL, POLICY)

    assert judgement.verdict == "blocked"
    assert judgement.reason == "Champion v1 stays: the candidate misses its average precision floor."
    assert [check.passed for check in judgement.checks] == [True, True, False, True, True]


def test_a_figure_on_its_floor_reaches_it():
    judgement = judge(replace(EVALUATION, precision=0.5), AbsentChampion(), POLICY)

    assert judgement.checks[0].passed


def test_a_first_run_needs_the_floors_only():
    judgement = judge(EVALUATION, AbsentChampion(), POLICY)

    assert judgement.verdict == "promote"
    assert [check.rule for check in judgement.checks] == ["precision floor", "recall floor", "average precision floor"]


def test_a_first_run_below_a_floor_is_blocked():
    judgement = judge(replace(EVALUATION, recall=0.39), AbsentChampion(), POLICY)

    assert judgement.verdict == "blocked"
    assert judgement.reason == "There is no champion yet, but the candidate misses its recall floor."


def test_the_champion_itself_is_kept_and_the_reason_says_so():
    judgement = judge(CHAMPION, RIVAL, POLICY)

    assert judgement.verdict == "keep"
    assert judgement.reason == "The candidate is the same model as champion v1: nothing has changed."


def test_figures_of_different_rows_are_never_compared():
    with pytest.raises(LineageError, match="measured on rows 888888888888, the champion on 777777777777"):
        judge(replace(EVALUATION, test="8" * 64), RIVAL, POLICY)
