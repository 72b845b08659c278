from dataclasses import replace

import numpy as np
import pytest

from ml.config import PolicyConfig, config_digest
from ml.errors import LineageError
from ml.gate.decide import champion_of, keep_decision
from ml.gate.policy import judge
from ml.gate.replay import policy_of, replay, replay_text
from ml.gate.scores import Scores, keep_scores
from ml.metrics import measure
from ml.records import AbsentChampion, Decision, RuleCheck, digest
from tests.gate.examples import CHAMPION, INPUTS, RIVAL, compare, open_workspace

TARGET = np.array([1, 0, 1, 0, 0])
SCORES = {
    "candidate": np.array([0.9, 0.3, 0.6, 0.2, 0.1], np.float32),
    "champion": np.array([0.8, 0.7, 0.3, 0.2, 0.1], np.float32),
}
POLICY = PolicyConfig(min_precision=0.5, min_recall=0.5, min_average_precision=0.5)


@pytest.fixture
def store(tmp_path):
    return open_workspace(tmp_path).store


def decided(store, rival, policy=POLICY):
    """A stored decision on the scores above."""
    comparison = compare("a" * 64, rival, **measure(TARGET, SCORES["candidate"], 0.4))
    roles = ["candidate"] if isinstance(rival, AbsentChampion) else ["candidate", "champion"]
    kept = Scores(qid=np.array(list("abcde")), target=TARGET, by_model={role: SCORES[role] for role in roles})
    keep_scores(store, comparison, kept)
    verdict, reason, checks = judge(comparison.candidate, comparison.rival, policy)
    decision = Decision(
        verdict=verdict,
        reason=reason,
        checks=checks,
        policy=config_digest(policy),
        candidate=comparison.candidate.model,
        champion=champion_of(comparison),
        comparison=digest(comparison),
        inputs=INPUTS,
        splits="5" * 64,
        test="7" * 64,
        triggered_by="command line",
    )
    keep_decision(store, decision, policy)
    return decision


def rival():
    return replace(RIVAL, evaluation=replace(CHAMPION, **measure(TARGET, SCORES["champion"], 0.4)))


@pytest.mark.parametrize("champion", [AbsentChampion(), rival()], ids=["first", "against a champion"])
def test_the_policy_of_then_gives_the_verdict_of_then(store, champion):
    decision = decided(store, champion)

    result = replay(store, decision, policy_of(store, decision))

    assert (result.same_policy, result.reproduced) == (True, True)
    assert replay_text(result).startswith("SAME: promote, from 5 stored scores. ")


def test_another_policy_shows_what_the_verdict_would_have_been(store):
    decision = decided(store, rival(), replace(POLICY, min_precision=0.0))
    stricter = PolicyConfig(min_precision=0.5, min_recall=0.5, min_average_precision=0.5)

    result = replay(store, replace(decision, verdict="blocked"), stricter)

    assert not result.same_policy
    assert replay_text(result).startswith("BY THIS POLICY: promote (recorded: blocked). ")


def test_a_record_that_the_scores_do_not_bear_out_is_not_the_same(store):
    edited = replace(decided(store, rival()), verdict="keep")

    result = replay(store, edited, POLICY)

    assert (result.same_policy, result.reproduced) == (True, False)
    assert replay_text(result).startswith("NOT THE SAME: promote, but keep is recorded. ")


def test_a_single_edited_check_is_noticed(store):
    decision = decided(store, rival())
    check = RuleCheck(rule="precision floor", observed="0.9999", required="at least 0.5000", passed=True)

    assert not replay(store, replace(decision, checks=(check, *decision.checks[1:])), POLICY).reproduced


def test_the_policy_is_kept_beside_the_decision(store):
    assert policy_of(store, decided(store, rival())) == POLICY


def test_an_edited_decision_has_no_policy(store):
    with pytest.raises(LineageError, match="is not in the store"):
        policy_of(store, replace(decided(store, rival()), verdict="keep"))


def test_a_decision_whose_scores_are_gone_cannot_be_replayed(store):
    with pytest.raises(LineageError, match="comparisons"):
        replay(store, replace(decided(store, rival()), comparison="0" * 64), POLICY)
