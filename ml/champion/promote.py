"""Step `promote`: register the candidate, move the alias if the verdict is to promote, and record the decision once.

If the registry does not answer, the promotion is pending: the store keeps its records until it is carried out.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import cast, get_args

from ml.champion.approval import refuse_unapproved
from ml.champion.pending_promotions import Pending, forget_pending, keep_pending
from ml.champion.retention import end_underway, retain
from ml.config import Config, PolicyConfig
from ml.errors import (
    LineageError,
    PromotionPending,
    RegistryConflict,
    RegistryDamaged,
    RegistryRefused,
    RegistryUnavailable,
)
from ml.judge.approval import frozen
from ml.judge.kept_decisions import evidence_of
from ml.judge.policy import is_settled
from ml.records import (
    ApprovalUnneeded,
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
    Verdict,
    digest,
)
from ml.registry import CHAMPION_ALIAS, Registry
from ml.registry.alias_move import Move, forget_move, move_champion, record_cut_off
from ml.registry.history import conclusions, refuse_unrecorded_move
from ml.run import Run
from ml.store import Store

_HOW_TO_FINISH = "nothing is lost: run this task again later, or `python -m ml promote --pending`"


def promote(config: Config, run: Run, comparison: Comparison, decision: Decision, probe: Probe) -> Promotion:
    """Carry out the decision; this is idempotent, also after a crash at any point.

    A run that has concluded before adds nothing, and gets that verdict. A dry run writes nothing to the registry.

    Raises LineageError if decision or probe are about another comparison, the candidate's files are gone, or a person
    has rejected the candidate, or did not approve it where one is needed;
    PromotionPending if the registry does not answer, RegistryConflict if the alias has left the champion that the
    decision names.
    """
    _refuse_other_comparison(comparison, decision, probe)
    refuse_unapproved(run, decision)
    if run.dry_run:
        end_underway(run)
        return _promotion(decision, Unregistered())
    return _settle(run, Pending(comparison, decision, probe, config))


def _settle(run: Run, pending: Pending) -> Promotion:
    """Carry out the decision; if the registry fails, the decision stays pending."""
    keep_pending(run, pending)
    try:
        with run.registry.turn():
            promotion = _carry_out(run, pending.comparison, pending.decision, pending.config.policy)
            retain(run, pending.config.retention)
    except RegistryUnavailable as error:
        raise PromotionPending(
            f"promotion pending: {error.what}", where=f"{error.where}, run {run.run_id}", fix=_HOW_TO_FINISH
        ) from None
    except (RegistryRefused, RegistryDamaged) as error:
        how = f"{error.fix}; then run this task again, or `python -m ml promote --pending`"
        raise type(error)(error.what, where=error.where, fix=how) from None
    except (RegistryConflict, LineageError):
        _end(run)
        raise
    _end(run)
    return promotion


def _end(run: Run) -> None:
    forget_move(run.store, run.run_id)
    forget_pending(run)
    end_underway(run)


def _carry_out(run: Run, comparison: Comparison, decision: Decision, policy: PolicyConfig) -> Promotion:
    """Register the candidate, move the alias, record the decision; or return what the run has concluded before."""
    registry = run.registry
    record_cut_off(run.store, registry)
    history = registry.history()
    for entry in conclusions(history, run.run_id):
        return _concluded(registry, entry, decision)

    _wait_for_thaw(decision, policy)
    refuse_unrecorded_move(history, registry.resolve(CHAMPION_ALIAS), "the registry")
    candidate = registry.register(_candidate_files(run, decision), decision.candidate)
    entry = _entry(run, comparison, decision, candidate.version)
    if decision.verdict == "promote":
        move_champion(run.store, registry, Move(target=candidate, entry=entry, grounds=decision))
    else:
        registry.record(entry, decision)
    return _promotion(decision, candidate)


def _wait_for_thaw(decision: Decision, policy: PolicyConfig) -> None:
    """Raise RegistryUnavailable if a freeze window has begun since a decision that no person was asked about."""
    windows = frozen(datetime.now(UTC).isoformat(), policy)
    if decision.verdict == "promote" and isinstance(decision.approval, ApprovalUnneeded) and windows:
        raise RegistryUnavailable(
            f"the freeze window {windows[0]} ({policy.timezone}) has begun since the decision",
            where="policy.freeze",
            fix=_HOW_TO_FINISH,
        )


def _candidate_files(run: Run, decision: Decision) -> Path:
    if not run.store.contains("models", decision.candidate):
        raise LineageError(
            f"the files of the candidate, model {decision.candidate[:12]}, are gone: it can no longer be promoted",
            where=f"store/models, run {run.run_id}",
            fix="start a new run, which trains it again",
        )
    return run.store.open("models", decision.candidate)


def _promotion(decision: Decision, candidate: ModelVersion | Unregistered) -> Promotion:
    return Promotion(
        promoted=decision.verdict == "promote" and isinstance(candidate, ModelVersion),
        verdict=decision.verdict,
        candidate=candidate,
        alias=CHAMPION_ALIAS,
        previous=decision.champion,
        decision=digest(decision),
    )


def _concluded(registry: Registry, entry: HistoryEntry, decision: Decision) -> Promotion:
    if entry.decision == digest(decision):
        return _promotion(decision, ModelVersion(version=entry.version, model=decision.candidate))
    if entry.verdict not in get_args(Verdict):
        raise LineageError(
            f"run {entry.run_id} has ended before, with the verdict {entry.verdict}",
            where="the registry's history",
            fix="start a new run, by another name",
        )
    return Promotion(
        promoted=entry.promoted,
        verdict=cast(Verdict, entry.verdict),
        candidate=registry.find(entry.version),
        alias=CHAMPION_ALIAS,
        previous=entry.previous,
        decision=entry.decision,
    )


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
        weights=comparison.candidate.weights,
        settled=is_settled(decision),
        watch=_champion_figures(comparison.rival),
        gains=_gains(run.store, decision),
        source=comparison.source,
        approval=decision.approval,
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
