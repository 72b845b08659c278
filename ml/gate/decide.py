"""Apply the policy to a comparison, and keep the decision."""

import json
import logging
from dataclasses import asdict

from ml.config import Config, PolicyConfig, config_digest
from ml.gate.evidence import Evidence
from ml.gate.policy import judge
from ml.gate.watch import alarms
from ml.inputs import inputs_of
from ml.records import AbsentChampion, Champion, Comparison, Decision, digest, to_json
from ml.store import Store
from ml.workspace import Workspace

logger = logging.getLogger(__name__)


def decide(config: Config, workspace: Workspace, comparison: Comparison) -> Decision:
    """Judge the candidate, store the decision with its policy, and put verdict and checks at the head of the report.

    Raises LineageError if the comparison is not in the store, or measured the two models on different rows.
    """
    evidence = gather(workspace.store, comparison, config.policy)
    verdict, reason, checks = judge(comparison, evidence, config.policy)
    decision = Decision(
        verdict=verdict,
        reason=reason,
        checks=checks,
        policy=config_digest(config.policy),
        candidate=comparison.candidate.model,
        champion=champion_of(comparison),
        comparison=digest(comparison),
        inputs=inputs_of(config, comparison.snapshot),
        splits=comparison.trained.splits,
        test=comparison.candidate.test,
        triggered_by=workspace.triggered_by,
        alarms=alarms(comparison.rival, config.policy),
    )
    for alarm in decision.alarms:
        logger.warning("alarm: %s", alarm)
    logger.info("%s: %s", verdict, reason)
    keep_decision(workspace.store, decision, config.policy, evidence)
    _report(workspace, comparison, decision, evidence)
    return decision


def gather(store: Store, comparison: Comparison, policy: PolicyConfig) -> Evidence | AbsentChampion:
    """The evidence in the stored scores of a comparison, under any policy; the same input, the same evidence."""
    from ml.gate.scores import read_scores, read_texts
    from ml.gate.statistics import Pair, gather_evidence, slice_members

    scores = read_scores(store, comparison)
    if isinstance(comparison.rival, AbsentChampion):
        return AbsentChampion()
    candidate, champion = (scores.by_model[role] for role in ("candidate", "champion"))
    pair = Pair(
        target=scores.target,
        candidate_scores=candidate,
        champion_scores=champion,
        candidate_labels=candidate >= comparison.candidate.threshold,
        champion_labels=champion >= comparison.rival.evaluation.threshold,
    )
    return gather_evidence(pair, slice_members(read_texts(store, comparison), policy), policy)


def champion_of(comparison: Comparison) -> Champion:
    """The champion that the candidate was compared with."""
    rival = comparison.rival
    return rival if isinstance(rival, AbsentChampion) else rival.champion


def keep_decision(store: Store, decision: Decision, policy: PolicyConfig, evidence: Evidence | AbsentChampion) -> None:
    """Store a decision, with the evidence and the policy that it was made by, so that it can be replayed."""
    with store.staging() as folder:
        (folder / "decision.json").write_text(to_json(decision), encoding="utf-8")
        (folder / "evidence.json").write_text(json.dumps(asdict(evidence), indent=2), encoding="utf-8")
        (folder / "policy.json").write_text(json.dumps(asdict(policy), sort_keys=True), encoding="utf-8")
        store.commit(folder, "decisions", digest(decision))


def _report(
    workspace: Workspace, comparison: Comparison, decision: Decision, evidence: Evidence | AbsentChampion
) -> None:
    from ml.gate.report import evidence_sections, verdict_section, write_evaluation_page

    write_evaluation_page(workspace, comparison, verdict_section(decision), *evidence_sections(evidence))
