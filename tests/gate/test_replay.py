from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ml.config import PolicyConfig, config_digest
from ml.errors import LineageError
from ml.gate.decide import champion_of, gather, keep_decision
from ml.gate.policy import judge
from ml.gate.replay import policy_of, replay, replay_text
from ml.gate.scores import Scores, keep_scores
from ml.metrics import measure
from ml.records import AbsentChampion, Decision, RuleCheck, digest
from tests.gate.examples import BASELINE, CHAMPION, INPUTS, RIVAL, compare, open_workspace

TARGET = np.array([1, 0, 1, 0, 0])
SCORES = {
    "candidate": np.array([0.9, 0.3, 0.6, 0.2, 0.1], np.float32),
    "champion": np.array([0.8, 0.7, 0.3, 0.2, 0.1], np.float32),
    "baseline": np.array([0.5, 0.3, 0.3, 0.2, 0.1], np.float32),
}
POLICY = PolicyConfig(min_precision=0.5, max_calibration_error=1.0, resamples=100)


@pytest.fixture
def store(tmp_path):
    """With the test rows that the scores are of."""
    store = open_workspace(tmp_path).store
    with store.staging() as folder:
        rows = pd.DataFrame({"question_text": ["why", "who is", "what", "when", "where"]})
        rows.to_parquet(folder / "rows.parquet")
        store.commit(folder, "splits", "7" * 64)
    return store


def decided(store, rival, policy=POLICY):
    """A stored decision on the scores above."""
    comparison = replace(
        compare("a" * 64, rival, **measure(TARGET, SCORES["candidate"], 0.4)),
        baseline=replace(BASELINE, **measure(TARGET, SCORES["baseline"], 0.4)),
    )
    roles = ["candidate", "baseline"] if isinstance(rival, AbsentChampion) else list(SCORES)
    kept = Scores(qid=np.array(list("abcde")), target=TARGET, by_model={role: SCORES[role] for role in roles})
    keep_scores(store, comparison, kept)
    evidence = gather(store, comparison, policy)
    verdict, reason, checks = judge(comparison, evidence, policy)
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
    keep_decision(store, decision, policy, evidence)
    return decision


def rival():
    return replace(RIVAL, evaluation=replace(CHAMPION, **measure(TARGET, SCORES["champion"], 0.4)))


@pytest.mark.parametrize("champion", [AbsentChampion(), rival()], ids=["first", "against a champion"])
def test_the_policy_of_then_gives_the_verdict_of_then(store, champion):
    decision = decided(store, champion)

    result = replay(store, decision, policy_of(store, decision))

    assert (result.same_policy, result.reproduced) == (True, True)
    assert replay_text(result).startswith(f"SAME: {decision.verdict}, from 5 stored scores. ")


def test_another_policy_shows_what_the_verdict_would_have_been(store):
    decision = decided(store, AbsentChampion())

    result = replay(store, decision, replace(POLICY, min_gain_over_baseline=0.5))

    assert not result.same_policy
    assert replay_text(result).startswith("BY THIS POLICY: blocked (recorded: promote). ")


def test_a_record_that_the_scores_do_not_bear_out_is_not_the_same(store):
    edited = replace(decided(store, AbsentChampion()), verdict="keep")

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
