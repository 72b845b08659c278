"""Move the champion's alias and record the move in the history: in the end both are done or neither, despite crashes.

A move is stored before it is made. If the process dies between the move and its record, the next run that moves the
alias first records the earlier move. So the history has every move, in the order in which the moves were made.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ml.errors import RegistryConflict
from ml.records import Decision, HistoryEntry, ModelVersion, NoChampion, Rollback, from_json, to_json
from ml.registry import CHAMPION_ALIAS, Registry
from ml.registry.history import is_last_moved
from ml.run import Run
from ml.store import Store

logger = logging.getLogger(__name__)


class Move(NamedTuple):
    """A move of the alias from `entry.previous` to `target`; `grounds` is the decision or the rollback behind it."""

    target: ModelVersion
    entry: HistoryEntry
    grounds: Decision | Rollback


def move_champion(run: Run, move: Move) -> None:
    """Make the move and record it.

    Raises RegistryConflict if the alias points neither at `entry.previous` nor at the target. Call `record_cut_off`
    first, before you read from the history what the move depends on.
    """
    registry = run.registry
    texts = {f"{name}.json": to_json(part) for name, part in move._asdict().items()}
    run.store.put("moves", run.run_id, texts)
    registry.move_alias(CHAMPION_ALIAS, move.target.version, expected=move.entry.previous)
    _read_back(registry, move.target)
    registry.record(move.entry, move.grounds)
    logger.info("%s is now %s", CHAMPION_ALIAS, move.target.version)


def record_cut_off(run: Run) -> None:
    """Record the last move of the alias if the history lacks it and the store has it."""
    registry = run.registry
    champion, history = registry.resolve(CHAMPION_ALIAS), registry.history()
    if isinstance(champion, NoChampion) or is_last_moved(history, champion):
        return
    recorded = {(entry.run_id, entry.decision) for entry in history}
    for move in _kept(run.store):
        if move.target == champion and (move.entry.run_id, move.entry.decision) not in recorded:
            logger.info("recorded now: run %s moved to %s and was cut off", move.entry.run_id, champion.version)
            registry.record(move.entry, move.grounds)
            return


def kept_moves(store: Store, run_id: str) -> Sequence[Move]:
    """Return the one move that the run has stored, whether it was made or not; empty if the run has stored none."""
    return [_read(store, run_id)] if store.contains("moves", run_id) else []


def _kept(store: Store) -> Iterator[Move]:
    """Yield all stored moves, the most recent first."""
    return (_read(store, name) for name in reversed(store.names("moves")))


def _read(store: Store, run_id: str) -> Move:
    folder = store.open("moves", run_id)
    target, entry, grounds = ((folder / f"{name}.json").read_text(encoding="utf-8") for name in Move._fields)
    moved = from_json(entry, HistoryEntry)
    is_rollback = moved.verdict == "rollback"
    return Move(
        target=from_json(target, ModelVersion),
        entry=moved,
        grounds=from_json(grounds, Rollback) if is_rollback else from_json(grounds, Decision),
    )


def _read_back(registry: Registry, promoted: ModelVersion) -> None:
    """Raise RegistryConflict if the alias does not point at the version that it was just moved to."""
    if registry.resolve(CHAMPION_ALIAS) != promoted:
        raise RegistryConflict(
            f"the alias {CHAMPION_ALIAS} was moved to {promoted.version}, but points elsewhere now",
            where="the registry",
            fix="see the history for who moved it, then start a new run",
        )
