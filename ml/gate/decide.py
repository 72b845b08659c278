"""Apply the policy to a comparison, and keep the decision."""

import logging

from ml.config import Config, config_digest
from ml.gate.policy import judge
from ml.records import AbsentChampion, Champion, Comparison, Decision, digest, to_json
from ml.store import Store
from ml.workspace import Workspace

logger = logging.getLogger(__name__)


def decide(config: Config, workspace: Workspace, comparison: Comparison) -> Decision:
    """Judge the candidate, store the decision, and put verdict and checks at the head of the report.

    Raises LineageError if the comparison is not in the store, or measured the two models on different rows.
    """
    workspace.store.open("comparisons", digest(comparison))
    verdict, reason, checks = judge(comparison.candidate, comparison.rival, config.policy)
    decision = Decision(
        verdict=verdict,
        reason=reason,
        checks=checks,
        policy=config_digest(config.policy),
        candidate=comparison.candidate.model,
        champion=champion_of(comparison),
        comparison=digest(comparison),
    )
    logger.info("%s: %s", verdict, reason)
    _keep(workspace.store, decision)
    _report(workspace, comparison, decision)
    return decision


def champion_of(comparison: Comparison) -> Champion:
    """The champion that the candidate was compared with."""
    rival = comparison.rival
    return rival if isinstance(rival, AbsentChampion) else rival.champion


def _keep(store: Store, decision: Decision) -> None:
    with store.staging() as folder:
        (folder / "decision.json").write_text(to_json(decision), encoding="utf-8")
        store.commit(folder, "decisions", digest(decision))


def _report(workspace: Workspace, comparison: Comparison, decision: Decision) -> None:
    from ml.gate.report import verdict_section, write_evaluation_page

    write_evaluation_page(workspace, comparison, verdict_section(decision))
