"""Carry out a decision: register the candidate, move the alias if the verdict says so, and record it once."""

import logging
from datetime import UTC, datetime

from ml.config import Config
from ml.errors import LineageError, RegistryConflict
from ml.gate.decide import champion_of, refuse_other_probe
from ml.gate.retention import retain
from ml.gate.summary import verdict_text
from ml.gate.verdict import keep_verdict
from ml.records import (
    AbsentChampion,
    ChampionFigures,
    Comparison,
    Decision,
    FoundChampion,
    Probe,
    Promotion,
    Rival,
    digest,
)
from ml.registry import CHAMPION_ALIAS, HistoryEntry, Registry
from ml.workspace import Workspace

logger = logging.getLogger(__name__)

UNREGISTERED = "unregistered"


def promote(
    config: Config, workspace: Workspace, comparison: Comparison, decision: Decision, probe: Probe
) -> Promotion:
    """Carry out the decision; a retry, after a crash at any point, gives the same end state once.

    A dry run ends with the verdict's text, before anything is written to the registry.

    Raises LineageError if decision or probe are about another comparison, RegistryConflict if the alias has left
    the champion that the decision names.
    """
    _refuse_other_comparison(comparison, decision, probe)
    version = UNREGISTERED if workspace.dry_run else _carry_out(workspace, comparison, decision)
    if not workspace.dry_run:
        retain(workspace, config.retention)
    promotion = Promotion(
        promoted=decision.verdict == "promote" and not workspace.dry_run,
        verdict=decision.verdict,
        version=version,
        alias=CHAMPION_ALIAS,
        previous=decision.champion,
        decision=digest(decision),
        report=comparison.report,
        dry_run=workspace.dry_run,
    )
    keep_verdict(workspace, verdict_text(comparison, decision, promotion))
    return promotion


def _carry_out(workspace: Workspace, comparison: Comparison, decision: Decision) -> str:
    """Register, move the alias, record; gives the candidate's version."""
    registry = workspace.registry
    for entry in registry.history():
        if (entry.run_id, entry.decision) == (workspace.run_id, digest(decision)):
            return entry.version

    artifact = workspace.store.open("models", decision.candidate)
    candidate = registry.register(artifact, decision.candidate)
    if decision.verdict == "promote":
        registry.move_alias(CHAMPION_ALIAS, candidate.version, expected=decision.champion)
        read_back(registry, candidate)
        logger.info("%s is now %s", CHAMPION_ALIAS, candidate.version)
    registry.record(_entry(workspace, comparison, decision, candidate.version), decision)
    return candidate.version


def _entry(workspace: Workspace, comparison: Comparison, decision: Decision, version: str) -> HistoryEntry:
    return HistoryEntry(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        run_id=workspace.run_id,
        promoted=decision.verdict == "promote",
        verdict=decision.verdict,
        reason=decision.reason,
        version=version,
        previous=decision.champion,
        decision=digest(decision),
        precision=comparison.candidate.precision,
        recall=comparison.candidate.recall,
        f1=comparison.candidate.f1,
        average_precision=comparison.candidate.average_precision,
        triggered_by=workspace.triggered_by,
        inputs=digest(decision.inputs),
        watch=_champion_figures(comparison.rival),
    )


def _champion_figures(rival: Rival | AbsentChampion) -> ChampionFigures | AbsentChampion:
    if isinstance(rival, AbsentChampion):
        return rival
    return ChampionFigures(
        version=rival.champion.version,
        rows=rival.evaluation.rows,
        precision=rival.evaluation.precision,
        recall=rival.evaluation.recall,
        average_precision=rival.evaluation.average_precision,
    )


def read_back(registry: Registry, promoted: FoundChampion) -> None:
    """Raises RegistryConflict if the alias does not point where it was just moved."""
    if registry.resolve(CHAMPION_ALIAS) != promoted:
        raise RegistryConflict(
            f"the alias {CHAMPION_ALIAS} was moved to {promoted.version}, but points elsewhere now",
            where="the registry",
            fix="see the history for who moved it, then start a new run",
        )


def _refuse_other_comparison(comparison: Comparison, decision: Decision, probe: Probe) -> None:
    refuse_other_probe(comparison, probe)
    stated = (decision.comparison, decision.probe, decision.candidate, decision.champion)
    if stated != (digest(comparison), digest(probe), comparison.candidate.model, champion_of(comparison)):
        raise LineageError(
            f"the decision is about comparison {decision.comparison[:12]} and probe {decision.probe[:12]},"
            f" not about {digest(comparison)[:12]} and {digest(probe)[:12]}",
            where="the records given to promote",
            fix="give promote the records that decide was given",
        )
