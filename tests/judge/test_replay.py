from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ml.config import PolicyConfig, config_digest
from ml.errors import LineageError
from ml.judge.evidence import gather_evidence
from ml.judge.kept_decisions import keep_decision, policy_of
from ml.judge.policy import judge
from ml.judge.replay import replay
from ml.judge.row_scores import Scores, keep_scores
from ml.metrics import measure
from ml.records import Decision, ModelVersion, NoChampion, NoEvidence, RuleCheck, digest
from ml.report.words.replay_text import replay_text
from tests.judge.examples import BASELINE, CHAMPION, INPUTS, PAST, RIVAL, compare, open_run, probed

TARGET = np.array([1, 0, 1, 0, 0])
SCORES = {
    "candidate": np.array([0.9, 0.3, 0.6, 0.2, 0.1], np.float32),
    "champion": np.array([0.8, 0.7, 0.3, 0.2, 0.1], np.float32),
    "baseline": np.array([0.5, 0.3, 0.3, 0.2, 0.1], np.float32),
}
POLICY = PolicyConfig(min_precision=0.5, max_calibration_error=1.0, min_gain_over_base_rate=-1.0, resamples=100)


@pytest.fixture
def store(tmp_path):
    """Make a store with the test rows that belong to the scores."""
    store = open_run(tmp_path).store
    with store.staging() as folder:
        rows = pd.DataFrame({"question_text": ["why", "who is", "what", "when", "where"]})
        rows.to_parquet(folder / "rows.parquet")
        store.commit(folder, "splits", "7" * 64)
    return store


def decided(store, rival, past=PAST):
    """Store a decision on the scores above."""
    comparison = replace(
        compare("a" * 64, rival, **measure(TARGET, SCORES["candidate"], 0.4)),
        baseline=replace(BASELINE, **measure(TARGET, SCORES["baseline"], 0.4)),
    )
    roles = ["candidate", "baseline"] if isinstance(rival, NoChampion) else list(SCORES)
    kept = Scores(qid=np.array(list("abcde")), target=TARGET, by_model={role: SCORES[role] for role in roles})
    keep_scores(store, comparison, kept)
    probe = probed(comparison)
    evidence = gather_evidence(store, comparison, POLICY, probe, past)
    verdict, reason, checks = judge(comparison, evidence, POLICY)
    decision = Decision(
        verdict=verdict,
        reason=reason,
        checks=checks,
        policy=config_digest(POLICY),
        candidate=comparison.candidate.model,
        champion=comparison.champion,
        comparison=digest(comparison),
        inputs=INPUTS,
        splits="5" * 64,
        test="7" * 64,
        triggered_by="command line",
        alarms=(),
        remarks=(),
        probe=digest(probe),
        past=past,
    )
    keep_decision(store, decision, POLICY, evidence, probed(comparison))
    return decision


def keep_edited(store, decision, **changes):
    """Edit a decision, and store it like a real one."""
    edited = replace(decision, **changes)
    comparison = compare("a" * 64, NoChampion())
    keep_decision(store, edited, POLICY, NoEvidence(), probed(comparison))
    return edited


def rival():
    return replace(RIVAL, evaluation=replace(CHAMPION, **measure(TARGET, SCORES["champion"], 0.4)))


@pytest.mark.parametrize("champion", [NoChampion(), rival()], ids=["first", "against a champion"])
def test_the_policy_of_then_gives_the_verdict_of_then(store, champion):
    decision = decided(store, champion)

    result = replay(store, decision, policy_of(store, decision))

    assert (result.same_policy, result.reproduced) == (True, True)
    assert replay_text(result).startswith(f"SAME: {decision.verdict}, from 5 stored scores. ")


def test_another_policy_shows_what_the_verdict_would_have_been(store):
    decision = decided(store, NoChampion())

    result = replay(store, decision, replace(POLICY, min_gain_over_baseline=0.5))

    assert not result.same_policy
    assert replay_text(result).startswith("BY THIS POLICY: blocked (recorded: promote). ")


def test_a_record_that_the_scores_do_not_bear_out_is_not_the_same(store):
    edited = keep_edited(store, decided(store, NoChampion()), verdict="keep")

    result = replay(store, edited, POLICY)

    assert (result.same_policy, result.reproduced) == (True, False)
    assert replay_text(result).startswith("NOT THE SAME: promote, but keep is recorded. ")


def test_a_single_edited_check_is_noticed(store):
    decision = decided(store, rival())
    check = RuleCheck(rule="precision floor", observed="0.9999", required="at least 0.5000", passed=True)
    edited = keep_edited(store, decision, checks=(check, *decision.checks[1:]))

    assert not replay(store, edited, POLICY).reproduced


def test_costs_and_history_are_judged_again_as_they_were_then(store):
    withdrawn = replace(PAST, withdrawn=ModelVersion(version="v2", model="a" * 64))
    decision = decided(store, rival(), withdrawn)

    text = replay_text(replay(store, decision, replace(POLICY, max_memory_ratio=1.1)))

    assert text.startswith("BY THIS POLICY: blocked (recorded: blocked). ")
    assert "at most 1.1 x, or +64 MiB" in text


def test_the_policy_is_kept_beside_the_decision(store):
    assert policy_of(store, decided(store, rival())) == POLICY


def test_an_edited_decision_has_no_policy(store):
    with pytest.raises(LineageError, match="is not in the store"):
        policy_of(store, replace(decided(store, rival()), verdict="keep"))


def test_a_decision_whose_scores_are_gone_cannot_be_replayed(store):
    with pytest.raises(LineageError, match="comparisons"):
        replay(store, replace(decided(store, rival()), comparison="0" * 64), POLICY)
