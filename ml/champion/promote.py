"""Step `promote`: register the candidate, move the alias if the verdict is to promote, and record the decision once.

If the registry does not answer, the promotion is pending: the store keeps its records until it is carried out.
"""

from datetime import UTC, datetime

from ml.champion.move import Move, move_champion, record_cut_off
from ml.champion.pending import Pending, forget_pending, keep_pending
from ml.champion.retention import retain
from ml.config import Config
from ml.errors import LineageError, PromotionPending, RegistryConflict, RegistryRefused, RegistryUnavailable
from ml.judge.decisions import evidence_of
from ml.records import (
    ChampionFigures,
    ChampionUnmeasured,
    Comparison,
    Decision,
    Gains,
    HistoryEntry,
    ModelVersion,
    NoChampion,
    NoEvidence,
    NoGains,
    Probe,
    Promotion,
    Rival,
    Unregistered,
    digest,
)
from ml.registry import CHAMPION_ALIAS
from ml.run import Run
from ml.store import Store

_HOW_TO_FINISH = "nothing is lost: run this task again later, or `python -m ml promote --pending`"


def promote(config: Config, run: Run, comparison: Comparison, decision: Decision, probe: Probe) -> Promotion:
    """Carry out the decision; this is idempotent, also after a crash at any point.

    A dry run writes nothing to the registry.

    Raises LineageError if the decision is about another comparison or probe, PromotionPending if the registry does not
    answer, RegistryRefused if it denies the request, RegistryConflict if the alias no longer points at the champion
    that the decision names.
    """
    _refuse_other_comparison(comparison, decision, probe)
    candidate = Unregistered() if run.dry_run else _settle(run, Pending(comparison, decision, probe, config))
    return Promotion(
        promoted=decision.verdict == "promote" and not run.dry_run,
        verdict=decision.verdict,
        candidate=candidate,
        alias=CHAMPION_ALIAS,
        previous=decision.champion,
        decision=digest(decision),
    )


def _settle(run: Run, pending: Pending) -> ModelVersion:
    """Carry out the decision, and return the candidate's version; if the registry fails, the decision stays pending."""
    keep_pending(run, pending)
    try:
        candidate = _carry_out(run, pending.comparison, pending.decision)
        retain(run, pending.config.retention)
    except RegistryUnavailable as error:
        raise PromotionPending(
            f"promotion pending: {error.what}", where=f"{error.where}, run {run.run_id}", fix=_HOW_TO_FINISH
        ) from None
    except RegistryRefused as error:
        how = f"{error.fix}; then run this task again, or `python -m ml promote --pending`"
        raise RegistryRefused(error.what, where=error.where, fix=how) from None
    except RegistryConflict:
        forget_pending(run)
        raise
    forget_pending(run)
    return candidate


def _carry_out(run: Run, comparison: Comparison, decision: Decision) -> ModelVersion:
    """Register the candidate, move the alias, record the decision; return the candidate's version."""
    registry = run.registry
    record_cut_off(run)
    for entry in registry.history():
        if (entry.run_id, entry.decision) == (run.run_id, digest(decision)):
            return ModelVersion(version=entry.version, model=decision.candidate)

    artifact = run.store.open("models", decision.candidate)
    candidate = registry.register(artifact, decision.candidate)
    entry = _entry(run, comparison, decision, candidate.version)
    if decision.verdict == "promote":
        move_champion(run, Move(target=candidate, entry=entry, grounds=decision))
    else:
        registry.record(entry, decision)
    return candidate


def _entry(run: Run, comparison: Comparison, decision: Decision, version: str) -> HistoryEntry:
    return HistoryEntry(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        run_id=run.run_id,
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
        triggered_by=run.triggered_by,
        inputs=digest(decision.inputs),
        watch=_champion_figures(comparison.rival),
        gains=_gains(run.store, decision),
    )


def _champion_figures(rival: Rival | NoChampion) -> ChampionFigures | ChampionUnmeasured:
    if isinstance(rival, NoChampion):
        return ChampionUnmeasured()
    return ChampionFigures(
        version=rival.champion.version,
        rows=rival.evaluation.rows,
        precision=rival.evaluation.precision,
        recall=rival.evaluation.recall,
        average_precision=rival.evaluation.average_precision,
    )


def _gains(store: Store, decision: Decision) -> Gains | NoGains:
    """Read the gains from the evidence of the decision; there are none if the decision is not in the store."""
    evidence = evidence_of(store, decision) if store.contains("decisions", digest(decision)) else NoEvidence()
    if isinstance(evidence, NoEvidence):
        return NoGains()
    figures = {name: evidence.figures[name] for name in ("precision", "recall", "f1")}
    return Gains(confidence=evidence.confidence, **figures)


def _refuse_other_comparison(comparison: Comparison, decision: Decision, probe: Probe) -> None:
    stated = (decision.comparison, decision.candidate, decision.champion, decision.probe)
    asked = (digest(comparison), comparison.candidate.model, comparison.champion, digest(probe))
    if stated != asked:
        raise LineageError(
            f"the decision is about comparison {decision.comparison[:12]} and probe {decision.probe[:12]},"
            f" not about {digest(comparison)[:12]} and {digest(probe)[:12]}",
            where="the records given to promote",
            fix="give promote the records that decide was given",
        )
