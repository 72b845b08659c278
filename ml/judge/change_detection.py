"""Step `detect`: end the run early if the champion's run had the same CSV, settings and code."""

import logging
from dataclasses import replace
from datetime import UTC, datetime

from ml.config import Config
from ml.encoder.check import check_encoder
from ml.fingerprint import inputs_of
from ml.records import (
    Champion,
    ChampionUnmeasured,
    Change,
    HistoryEntry,
    Inputs,
    NoChampion,
    NoGains,
    RawSnapshot,
    digest,
)
from ml.registry import CHAMPION_ALIAS
from ml.registry.alias_move import record_cut_off
from ml.registry.history import conclusions, promotions_with, refuse_unrecorded_move
from ml.run import Run

logger = logging.getLogger(__name__)


def detect(config: Config, run: Run, snapshot: RawSnapshot) -> Change:
    """Compare this run's inputs with those of the champion's run; record a run without a change in the history.

    A run that has come to its verdict before has no work either, and nothing is added. Raises ConfigError if the
    configured encoder cannot be used, RegistryUnavailable if it is not sure which model is the champion,
    RegistryDamaged if history and alias contradict each other.
    """
    check_encoder(config.encoder)
    inputs = inputs_of(config, snapshot.sha256)
    if run.dry_run:
        return _compare(run, inputs)
    with run.registry.turn():
        record_cut_off(run.store, run.registry)
        refuse_unrecorded_move(run.registry.history(), run.registry.resolve(CHAMPION_ALIAS), "the registry")
        return _compare(run, inputs)


def _compare(run: Run, inputs: Inputs) -> Change:
    champion, history = run.registry.resolve(CHAMPION_ALIAS), run.registry.history()
    promotions = promotions_with(history, champion, digest(inputs))
    change = Change(
        changed=run.force or not promotions,
        reason=_reason(champion, forced=run.force, same=bool(promotions)),
        inputs=inputs,
        champion=champion,
    )
    for entry in conclusions(history, run.run_id):
        if entry.decision != digest(change):
            change = replace(change, changed=False, reason=f"This run has come to a verdict before: {entry.verdict}.")
    logger.info("%s", change.reason)
    if promotions and not change.changed:
        _record(run, change, promotions[-1])
    return change


def _reason(champion: Champion, *, forced: bool, same: bool) -> str:
    if isinstance(champion, NoChampion):
        return "There is no champion yet."
    if not same:
        return f"CSV, settings or code differ from those of the run of champion {champion.version}."
    again = "Nothing has changed, but the run was told to go on." if forced else "Nothing has changed."
    return f"{again} CSV, settings and code are those of the run of champion {champion.version}."


def _record(run: Run, change: Change, promotion: HistoryEntry) -> None:
    entry = replace(
        promotion,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        run_id=run.run_id,
        promoted=False,
        verdict="unchanged",
        reason=change.reason,
        previous=change.champion,
        decision=digest(change),
        triggered_by=run.triggered_by,
        watch=ChampionUnmeasured(),
        gains=NoGains(),
    )
    if not run.dry_run:
        run.registry.record(entry, change)
