"""Step `detect`: end the run early if a run of the same inputs was judged beside this champion before.

A second training of the same inputs would be a second draw against the same test rows.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from ml.config import Config
from ml.encoder.check import check_encoder
from ml.fingerprint import inputs_of
from ml.records import (
    Champion,
    Change,
    HistoryEntry,
    Inputs,
    Judged,
    ModelVersion,
    NoChampion,
    NothingWithdrawn,
    NotJudged,
    RawSnapshot,
    Verdict,
    digest,
)
from ml.registry import CHAMPION_ALIAS
from ml.registry.alias_move import record_cut_off
from ml.registry.history import conclusions, judged_again, judged_with, refuse_unrecorded_move, withdrawn
from ml.run import Run

_INPUTS = "CSV, settings and code"


def detect(config: Config, run: Run, snapshot: RawSnapshot) -> Change:
    """Compare this run's inputs with those of earlier runs; record a run that ends here in the history.

    A run ends here if its inputs made the champion, lost against it, or made a version that was rolled back from,
    unless it is forced. A run that has come to its verdict before ends here too, and nothing is added. Raises
    ConfigError if the configured encoder cannot be used, RegistryUnavailable if it is not sure which model is the
    champion, RegistryDamaged if history and alias contradict each other.
    """
    check_encoder(config.encoder)
    inputs = inputs_of(config, snapshot.sha256, NoChampion())
    if run.dry_run:
        return _compare(run, inputs)
    with run.registry.turn():
        record_cut_off(run.store, run.registry)
        refuse_unrecorded_move(run.registry.history(), run.registry.resolve(CHAMPION_ALIAS), "the registry")
        return _compare(run, inputs)


def _compare(run: Run, inputs: Inputs) -> Change:
    champion, history = run.registry.resolve(CHAMPION_ALIAS), run.registry.history()
    inputs = replace(inputs, champion=champion)
    before, gone = judged_with(history, champion, inputs), withdrawn(history, inputs)
    has_ended_before = bool(before) or isinstance(gone, ModelVersion)
    change = Change(
        changed=run.force or not has_ended_before,
        reason=_reason(champion, gone, before, forced=run.force),
        inputs=inputs,
        champion=champion,
        judged=_judged(before),
        withdrawn=gone,
    )
    for entry in conclusions(history, run.run_id):
        if entry.decision != digest(change):
            change = replace(change, changed=False, reason=f"This run has come to a verdict before: {entry.verdict}.")
    if has_ended_before and not change.changed:
        _record(run, change, history, before)
    return change


def _judged(before: Sequence[HistoryEntry]) -> Judged | NotJudged:
    for entry in reversed(before):
        verdict = cast(Verdict, entry.verdict)
        return Judged(run_id=entry.run_id, verdict=verdict, reason=entry.reason, version=entry.version)
    return NotJudged()


def _reason(
    champion: Champion, gone: ModelVersion | NothingWithdrawn, before: Sequence[HistoryEntry], *, forced: bool
) -> str:
    unless = " The run was told to go on." if forced else ""
    if isinstance(gone, ModelVersion):
        return f"{_INPUTS} are those of {gone.version}, which was rolled back from.{unless}"
    for entry in reversed(before):
        again = "Nothing has changed, but the run was told to go on." if forced else "Nothing has changed."
        if entry.verdict == "promote":
            return f"{again} {_INPUTS} are those of the run of champion {entry.version}."
        return f"{again} {_INPUTS} are those of run {entry.run_id}: {entry.verdict.upper()}. {entry.reason}"
    if isinstance(champion, NoChampion):
        return "There is no champion yet."
    return f"CSV, settings or code differ from those of all runs that were judged beside champion {champion.version}."


def _record(run: Run, change: Change, history: Sequence[HistoryEntry], before: Sequence[HistoryEntry]) -> None:
    """Add an entry with the figures of the version that was judged then, if the run has none yet."""
    if run.dry_run:
        return
    gone = change.withdrawn
    of_gone = [entry for entry in history if isinstance(gone, ModelVersion) and entry.version == gone.version]
    entry = judged_again(
        (of_gone or before)[-1],
        run.run_id,
        verdict="unchanged",
        reason=change.reason,
        previous=change.champion,
        decision=digest(change),
        triggered_by=run.triggered_by,
    )
    run.registry.record(entry, change)
