"""Step `decide`: apply the policy to a comparison, and store the decision with policy, evidence and probe."""

import logging

from ml.config import Config, config_digest
from ml.errors import LineageError
from ml.fingerprint import inputs_of
from ml.judge.approval import judge_with_person
from ml.judge.evidence import gather_evidence
from ml.judge.kept_decisions import keep_decision
from ml.judge.policy import alarms, remarks
from ml.records import Comparison, Decision, Inputs, Past, Probe, digest
from ml.registry.history import after_rollback, champion_source, last_promotion, withdrawn
from ml.run import Run

logger = logging.getLogger(__name__)


def decide(config: Config, run: Run, comparison: Comparison, probe: Probe) -> Decision:
    """Judge the candidate, and store the decision with the policy, the evidence and the probe that it is based on.

    Raises LineageError if the comparison is not in the store, if it measured the models on different rows, or if the
    probe is about another comparison; RegistryUnavailable if the registry does not give its history.
    """
    _refuse_other_probe(comparison, probe)
    inputs = inputs_of(config, comparison.snapshot, comparison.champion)
    past = read_past(run, comparison, probe, inputs)
    evidence = gather_evidence(run.store, comparison, config.policy, probe, past)
    (verdict, reason, checks), approval = judge_with_person(comparison, evidence, config.policy, past)
    decision = Decision(
        verdict=verdict,
        reason=reason,
        checks=checks,
        policy=config_digest(config.policy),
        candidate=comparison.candidate.model,
        champion=comparison.champion,
        comparison=digest(comparison),
        inputs=inputs,
        splits=comparison.trained.splits,
        test=comparison.candidate.test,
        triggered_by=run.triggered_by,
        alarms=alarms(comparison.rival, config.policy),
        remarks=remarks(comparison, config.policy),
        probe=digest(probe),
        past=past,
        approval=approval,
    )
    for alarm in decision.alarms:
        logger.warning("alarm: %s", alarm)
    logger.info("%s: %s", verdict, reason)
    keep_decision(run.store, decision, config.policy, evidence, probe)
    return decision


def read_past(run: Run, comparison: Comparison, probe: Probe, inputs: Inputs) -> Past:
    """Read from the history what it says about the probed candidate, or about a candidate of the same inputs.

    The time is the probe's time, so that a decision is the same when it is made again after a crash. Raises
    RegistryUnavailable if the registry does not give its history.
    """
    history = run.registry.history()
    return Past(
        time=probe.time,
        last_promotion=last_promotion(history),
        after_rollback=after_rollback(history),
        withdrawn=withdrawn(history, inputs, weights={comparison.candidate.weights}),
        forced=run.force,
        champion_source=champion_source(history, comparison.champion),
    )


def _refuse_other_probe(comparison: Comparison, probe: Probe) -> None:
    if (probe.comparison, probe.model) != (digest(comparison), comparison.candidate.model):
        raise LineageError(
            f"the probe is about comparison {probe.comparison[:12]}, not about {digest(comparison)[:12]}",
            where="the records given to this step",
            fix="probe the candidate of this comparison first",
        )
