"""Judge the candidate of a decision again, from the stored scores."""

from dataclasses import dataclass, replace

from ml.config import PolicyConfig
from ml.judge.approval import judge_with_person
from ml.judge.evidence import gather_evidence
from ml.judge.kept_decisions import policy_of, probe_of
from ml.judge.policy import Judgement
from ml.judge.row_scores import Scores, read_scores
from ml.metrics import measure
from ml.records import Comparison, Decision, Evaluation, NoChampion, from_json
from ml.store import Store


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A recorded decision and the judgement now; `same_policy` tells whether both are made by the same policy."""

    decision: Decision
    judgement: Judgement
    same_policy: bool
    rows: int

    @property
    def reproduced(self) -> bool:
        """Tell whether verdict, reason and every check are equal to the recorded ones."""
        recorded = self.decision
        return tuple(self.judgement) == (recorded.verdict, recorded.reason, recorded.checks)


def replay(store: Store, decision: Decision, policy: PolicyConfig) -> Replay:
    """Measure all models again from the stored scores, and judge the candidate by a policy.

    Serving costs, history and a person's answer are the recorded ones. Raises LineageError if the decision, or the
    comparison that it names, is not in the store.
    """
    kept = store.open("comparisons", decision.comparison) / "comparison.json"
    comparison = from_json(kept.read_text(encoding="utf-8"), Comparison)
    scores = read_scores(store, comparison)
    candidate = _measure_again(comparison.candidate, scores, "candidate")
    rival = comparison.rival
    if not isinstance(rival, NoChampion):
        rival = replace(rival, evaluation=_measure_again(rival.evaluation, scores, "champion"))
    baseline = _measure_again(comparison.baseline, scores, "baseline")
    measured = replace(comparison, candidate=candidate, baseline=baseline, rival=rival)
    evidence = gather_evidence(store, comparison, policy, probe_of(store, decision), decision.past)
    judgement, _ = judge_with_person(measured, evidence, policy, decision.past, decision.approval)
    return Replay(
        decision=decision,
        judgement=judgement,
        same_policy=policy == policy_of(store, decision),
        rows=len(scores.target),
    )


def _measure_again(evaluation: Evaluation, scores: Scores, role: str) -> Evaluation:
    return replace(evaluation, **measure(scores.target, scores.by_model[role], evaluation.threshold))
