"""Judge a decision's candidate once more, from the scores that were kept."""

import json
import textwrap
from dataclasses import dataclass, replace

from ml.config import PolicyConfig, read_policy
from ml.judge.decide import gather
from ml.judge.policy import Judgement, judge
from ml.judge.scores import Scores, read_scores
from ml.metrics import measure
from ml.records import AbsentChampion, Comparison, Decision, Evaluation, Probe, Unrecorded, digest, from_json
from ml.report.wording import WIDTH, check_lines
from ml.store import Store


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A recorded decision, and what comes out now; `same_policy` says whether by the policy of then."""

    decision: Decision
    judgement: Judgement
    same_policy: bool
    rows: int

    @property
    def reproduced(self) -> bool:
        """Whether verdict, reason and every check are those of the record."""
        recorded = self.decision
        return tuple(self.judgement) == (recorded.verdict, recorded.reason, recorded.checks)


def replay(store: Store, decision: Decision, policy: PolicyConfig) -> Replay:
    """Measure all models again from the stored scores, and judge by a policy; costs and history are those of then.

    Raises LineageError if the decision, or the comparison that it names, is not in the store.
    """
    kept = store.open("comparisons", decision.comparison) / "comparison.json"
    comparison = from_json(kept.read_text(encoding="utf-8"), Comparison)
    scores = read_scores(store, comparison)
    candidate = _measure_again(comparison.candidate, scores, "candidate")
    rival = comparison.rival
    if not isinstance(rival, AbsentChampion):
        rival = replace(rival, evaluation=_measure_again(rival.evaluation, scores, "champion"))
    baseline = _measure_again(comparison.baseline, scores, "baseline")
    measured = replace(comparison, candidate=candidate, baseline=baseline, rival=rival)
    evidence = gather(store, comparison, policy, _probe_of(store, decision), decision.circumstances)
    return Replay(
        decision=decision,
        judgement=judge(measured, evidence, policy),
        same_policy=policy == policy_of(store, decision),
        rows=len(scores.target),
    )


def policy_of(store: Store, decision: Decision) -> PolicyConfig:
    """The policy that a decision was made by; raises LineageError if the decision is not in the store."""
    kept = store.open("decisions", digest(decision)) / "policy.json"
    return read_policy(json.loads(kept.read_text(encoding="utf-8")))


def _probe_of(store: Store, decision: Decision) -> Probe | Unrecorded:
    if isinstance(decision.circumstances, Unrecorded):
        return Unrecorded()
    kept = store.open("decisions", digest(decision)) / "probe.json"
    return from_json(kept.read_text(encoding="utf-8"), Probe)


def replay_text(replay: Replay) -> str:
    """Whether the recorded verdict comes out again; by another policy, what it would have been."""
    verdict, reason, checks = replay.judgement
    recorded = replay.decision.verdict
    if not replay.same_policy:
        headline = f"BY THIS POLICY: {verdict} (recorded: {recorded}). {reason}"
    elif replay.reproduced:
        headline = f"SAME: {verdict}, from {replay.rows:,} stored scores. {reason}"
    else:
        headline = f"NOT THE SAME: {verdict}, but {recorded} is recorded. {reason}"
    return "\n".join([textwrap.fill(headline, WIDTH), "", *check_lines(checks)])


def _measure_again(evaluation: Evaluation, scores: Scores, role: str) -> Evaluation:
    return replace(evaluation, **measure(scores.target, scores.by_model[role], evaluation.threshold))
