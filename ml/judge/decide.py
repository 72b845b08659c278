"""Apply the policy to a comparison, and keep the decision."""

import json
import logging
from dataclasses import asdict, replace

from ml.config import Config, PolicyConfig, config_digest
from ml.errors import LineageError
from ml.inputs import inputs_of
from ml.judge.contamination import alarms
from ml.judge.evidence import Evidence
from ml.judge.past import circumstances_of
from ml.judge.policy import judge
from ml.records import (
    AbsentChampion,
    Champion,
    Circumstances,
    Comparison,
    Decision,
    Probe,
    UnmeasuredCosts,
    Unrecorded,
    digest,
    to_json,
)
from ml.run import Run
from ml.store import Store

logger = logging.getLogger(__name__)


def decide(config: Config, run: Run, comparison: Comparison, probe: Probe) -> Decision:
    """Judge the candidate, store the decision with its grounds, and put verdict and checks at the head of the report.

    Raises LineageError if the comparison is not in the store, or measured the two models on different rows, or the
    probe is of another candidate or without costs; RegistryUnavailable if the history is not sure.
    """
    refuse_other_probe(comparison, probe)
    _refuse_without_costs(probe)
    inputs = inputs_of(config, comparison.snapshot)
    circumstances = circumstances_of(run, probe, inputs)
    evidence = gather(run.store, comparison, config.policy, probe, circumstances)
    verdict, reason, checks = judge(comparison, evidence, config.policy)
    decision = Decision(
        verdict=verdict,
        reason=reason,
        checks=checks,
        policy=config_digest(config.policy),
        candidate=comparison.candidate.model,
        champion=champion_of(comparison),
        comparison=digest(comparison),
        inputs=inputs,
        splits=comparison.trained.splits,
        test=comparison.candidate.test,
        triggered_by=run.triggered_by,
        alarms=alarms(comparison.rival, config.policy),
        probe=digest(probe),
        circumstances=circumstances,
    )
    for alarm in decision.alarms:
        logger.warning("alarm: %s", alarm)
    logger.info("%s: %s", verdict, reason)
    keep_decision(run.store, decision, config.policy, evidence, probe)
    _report(run, comparison, decision, evidence)
    return decision


def gather(
    store: Store,
    comparison: Comparison,
    policy: PolicyConfig,
    probe: Probe | Unrecorded,
    circumstances: Circumstances | Unrecorded,
) -> Evidence | AbsentChampion:
    """The evidence in the stored scores of a comparison, under any policy; the same input, the same evidence."""
    from ml.judge.scores import read_scores, read_texts
    from ml.judge.statistics import Pair, gather_evidence, slice_members

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
    evidence = gather_evidence(pair, slice_members(read_texts(store, comparison), policy), policy)
    return replace(evidence, probe=probe, circumstances=circumstances)


def champion_of(comparison: Comparison) -> Champion:
    """The champion that the candidate was compared with."""
    rival = comparison.rival
    return rival if isinstance(rival, AbsentChampion) else rival.champion


def refuse_other_probe(comparison: Comparison, probe: Probe) -> None:
    """Raises LineageError unless it was the candidate of this comparison that served."""
    if (probe.comparison, probe.model) != (digest(comparison), comparison.candidate.model):
        raise LineageError(
            f"the probe is about comparison {probe.comparison[:12]}, not about {digest(comparison)[:12]}",
            where="the records given to this step",
            fix="probe the candidate of this comparison first",
        )


def _refuse_without_costs(probe: Probe) -> None:
    if isinstance(probe.costs, UnmeasuredCosts):
        raise LineageError(
            "the probe did not measure what serving costs: it is of an earlier version of this code",
            where="the records given to decide",
            fix="run the step probe again",
        )


def keep_decision(
    store: Store, decision: Decision, policy: PolicyConfig, evidence: Evidence | AbsentChampion, probe: Probe
) -> None:
    """Store a decision, with the policy, the evidence and the probe that it was made by, so that it can be replayed."""
    with store.staging() as folder:
        (folder / "decision.json").write_text(to_json(decision), encoding="utf-8")
        (folder / "probe.json").write_text(to_json(probe), encoding="utf-8")
        (folder / "evidence.json").write_text(json.dumps(asdict(evidence), indent=2), encoding="utf-8")
        (folder / "policy.json").write_text(json.dumps(asdict(policy), sort_keys=True), encoding="utf-8")
        store.commit(folder, "decisions", digest(decision))


def _report(run: Run, comparison: Comparison, decision: Decision, evidence: Evidence | AbsentChampion) -> None:
    from ml.report.evaluation_page import evidence_sections, verdict_section, write_evaluation_page

    write_evaluation_page(run, comparison, verdict_section(decision), *evidence_sections(evidence))
