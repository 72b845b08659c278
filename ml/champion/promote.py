"""Carry out a decision: register the candidate, move the alias if the verdict says so, and record it once.

Where the registry does not answer, the promotion is pending: its records wait in the store until it is carried out.
"""

import json
from datetime import UTC, datetime

from ml.champion.move import Move, move_champion, record_cut_off
from ml.champion.pending import Pending, forget_pending, keep_pending
from ml.champion.retention import retain
from ml.config import Config
from ml.errors import LineageError, PromotionPending, RegistryConflict, RegistryRefused, RegistryUnavailable
from ml.judge.decide import champion_of, refuse_other_probe
from ml.records import (
    UNRECORDED,
    AbsentChampion,
    ChampionFigures,
    Comparison,
    Decision,
    Gains,
    Interval,
    Probe,
    Promotion,
    Rival,
    digest,
)
from ml.registry import CHAMPION_ALIAS, HistoryEntry
from ml.report.verdict import keep_verdict
from ml.report.wording import verdict_text
from ml.run import Run
from ml.store import Store

UNREGISTERED = "unregistered"
_HOW_TO_FINISH = "nothing is lost: run this task again later, or `python -m ml promote --pending`"


def promote(config: Config, run: Run, comparison: Comparison, decision: Decision, probe: Probe) -> Promotion:
    """Carry out the decision; a retry, after a crash at any point, gives the same end state once.

    A dry run ends with the verdict's text, before anything is written to the registry.

    Raises LineageError if decision or probe are about another comparison, PromotionPending if the registry does not
    answer, RegistryConflict if the alias has left the champion that the decision names.
    """
    _refuse_other_comparison(comparison, decision, probe)
    pending = Pending(comparison, decision, probe, config)
    version = UNREGISTERED if run.dry_run else _settle(config, run, pending)
    promotion = Promotion(
        promoted=decision.verdict == "promote" and not run.dry_run,
        verdict=decision.verdict,
        version=version,
        alias=CHAMPION_ALIAS,
        previous=decision.champion,
        decision=digest(decision),
        report=comparison.report,
        dry_run=run.dry_run,
    )
    keep_verdict(run, verdict_text(comparison, decision, promotion))
    return promotion


def _settle(config: Config, run: Run, pending: Pending) -> str:
    """Carry out, or leave it pending; gives the candidate's version."""
    keep_pending(run, pending)
    try:
        version = _carry_out(run, pending.comparison, pending.decision)
        retain(run, config.retention)
    except RegistryUnavailable as error:
        keep_verdict(run, f"PROMOTION PENDING: {pending.decision.reason}\n\n{error.what}\n{_HOW_TO_FINISH}")
        raise PromotionPending(
            f"promotion pending: {error.what}", where=f"{error.where}, run {run.run_id}", fix=_HOW_TO_FINISH
        ) from None
    except RegistryRefused as error:
        how = f"{error.fix}; then run this task again, or `python -m ml promote --pending`"
        keep_verdict(run, f"PROMOTION PENDING: {pending.decision.reason}\n\n{error.what}\n{how}")
        raise
    except RegistryConflict as error:
        keep_verdict(run, f"NOT PROMOTED: {error.what}")
        forget_pending(run)
        raise
    forget_pending(run)
    return version


def _carry_out(run: Run, comparison: Comparison, decision: Decision) -> str:
    """Register, move the alias, record; gives the candidate's version."""
    registry = run.registry
    record_cut_off(run)
    for entry in registry.history():
        if (entry.run_id, entry.decision) == (run.run_id, digest(decision)):
            return entry.version

    artifact = run.store.open("models", decision.candidate)
    candidate = registry.register(artifact, decision.candidate)
    entry = _entry(run, comparison, decision, candidate.version)
    if decision.verdict == "promote":
        move_champion(run, Move(target=candidate, entry=entry, grounds=decision))
    else:
        registry.record(entry, decision)
    return candidate.version


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


def _gains(store: Store, decision: Decision) -> Gains | AbsentChampion:
    """From the evidence that was kept with the decision; there is none where there was no champion."""
    if isinstance(decision.champion, AbsentChampion) or not store.contains("decisions", digest(decision)):
        return AbsentChampion()
    evidence = json.loads((store.open("decisions", digest(decision)) / "evidence.json").read_text(encoding="utf-8"))
    gains = {figure: Interval(**evidence["figures"][figure]) for figure in ("precision", "recall", "f1")}
    return Gains(confidence=evidence["confidence"], **gains)


def _refuse_other_comparison(comparison: Comparison, decision: Decision, probe: Probe) -> None:
    refuse_other_probe(comparison, probe)
    stated = (decision.comparison, decision.candidate, decision.champion)
    asked = (digest(comparison), comparison.candidate.model, champion_of(comparison))
    # A decision of an earlier version, that was pending meanwhile, names no probe.
    if stated != asked or decision.probe not in (digest(probe), UNRECORDED):
        raise LineageError(
            f"the decision is about comparison {decision.comparison[:12]} and probe {decision.probe[:12]},"
            f" not about {digest(comparison)[:12]} and {digest(probe)[:12]}",
            where="the records given to promote",
            fix="give promote the records that decide was given",
        )
