"""Step `detect`: end the run early if the champion's run had the same CSV, settings and code."""

import logging
from dataclasses import replace
from datetime import UTC, datetime

from ml.config import Config
from ml.encoder.check import check_encoder
from ml.inputs import inputs_of
from ml.records import (
    Champion,
    ChampionUnmeasured,
    Change,
    HistoryEntry,
    NoChampion,
    NoGains,
    RawSnapshot,
    digest,
)
from ml.registry import CHAMPION_ALIAS
from ml.registry.history import promotions_with
from ml.run import Run

logger = logging.getLogger(__name__)


def detect(config: Config, run: Run, snapshot: RawSnapshot) -> Change:
    """Compare this run's inputs with those of the champion's run; record a run without a change in the history.

    Raises ConfigError if the configured encoder cannot be used, RegistryUnavailable if the registry does not tell which
    model is the champion.
    """
    check_encoder(config.encoder)
    inputs = inputs_of(config, snapshot.sha256)
    champion = run.registry.resolve(CHAMPION_ALIAS)
    promotions = promotions_with(run.registry.history(), champion, digest(inputs))
    change = Change(
        changed=run.force or not promotions,
        reason=_reason(champion, forced=run.force, same=bool(promotions)),
        inputs=inputs,
        champion=champion,
    )
    logger.info("%s", change.reason)
    if not change.changed:
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
