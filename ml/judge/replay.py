"""Judge the candidate of a decision again, from the stored scores."""

from dataclasses import dataclass, replace

from ml.config import PolicyConfig, config_digest
from ml.errors import LineageError
from ml.judge.approval import judge_with_person
from ml.judge.evidence import gather_evidence
from ml.judge.kept_decisions import evidence_of, policy_of, probe_of
from ml.judge.policy import Judgement
from ml.judge.row_scores import Scores, read_scores
from ml.metrics import measure
from ml.records import Comparison, Decision, ErasedRows, Evaluation, NoChampion, NothingErased, digest, from_json
from ml.store import Store
from ml.store.erasures import erased_rows


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A recorded decision and the judgement now; `same_policy` tells whether both are made by the same policy.

    Where rows were erased, the policy of then judges by the recorded figures and evidence, since nobody can measure
    them again; another policy judges by what remains.
    """

    decision: Decision
    judgement: Judgement
    same_policy: bool
    rows: int
    erased: ErasedRows | NothingErased

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
    erased = erased_rows(store, "comparisons", decision.comparison)
    same_policy = policy == policy_of(store, decision)
    if isinstance(erased, ErasedRows) and same_policy:
        _refuse_other_grounds(store, decision, comparison)
        measured, evidence = comparison, evidence_of(store, decision)
    else:
        measured = _measured_again(comparison, scores)
        evidence = gather_evidence(store, comparison, policy, probe_of(store, decision), decision.past)
    judgement, _ = judge_with_person(measured, evidence, policy, decision.past, decision.approval)
    return Replay(
        decision=decision, judgement=judgement, same_policy=same_policy, rows=len(scores.target), erased=erased
    )


def _refuse_other_grounds(store: Store, decision: Decision, comparison: Comparison) -> None:
    stated = (decision.comparison, decision.policy, decision.probe)
    kept = (digest(comparison), config_digest(policy_of(store, decision)), digest(probe_of(store, decision)))
    if stated != kept:
        raise LineageError(
            "the stored comparison, policy or probe is not the one that the decision names",
            where=f"decision {digest(decision)[:12]}",
            fix="bring the store back from a backup",
        )


def _measured_again(comparison: Comparison, scores: Scores) -> Comparison:
    candidate = _measure_again(comparison.candidate, scores, "candidate")
    rival = comparison.rival
    if not isinstance(rival, NoChampion):
        rival = replace(rival, evaluation=_measure_again(rival.evaluation, scores, "champion"))
    baseline = _measure_again(comparison.baseline, scores, "baseline")
    return replace(comparison, candidate=candidate, baseline=baseline, rival=rival)


def _measure_again(evaluation: Evaluation, scores: Scores, role: str) -> Evaluation:
    return replace(evaluation, **measure(scores.target, scores.by_model[role], evaluation.threshold))
