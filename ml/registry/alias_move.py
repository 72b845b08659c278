"""Move the champion's alias and record the move in the history: in the end both are done or neither, despite crashes.

A move is stored before it is made. If the process dies between the move and its record, whoever moves the alias next
first records the earlier move. So the history has every move, in the order in which the moves were made. Each function
is called in the registry's turn.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ml.errors import LineageError, RegistryConflict, RegistryRefused
from ml.records import Decision, HistoryEntry, ModelVersion, NoChampion, Rollback, from_json, to_json
from ml.registry import CHAMPION_ALIAS, Registry
from ml.registry.history import concluded, is_last_moved, last_moved
from ml.store import Store

logger = logging.getLogger(__name__)


class Move(NamedTuple):
    """A move of the alias from `entry.previous` to `target`; `grounds` is the decision or the rollback behind it."""

    target: ModelVersion
    entry: HistoryEntry
    grounds: Decision | Rollback


def move_champion(store: Store, registry: Registry, move: Move) -> None:
    """Make the move and record it.

    Raises RegistryConflict if the alias points neither at `entry.previous` nor at the target, and forgets the move.
    Call `record_cut_off` first, before you read from the history what the move depends on.
    """
    texts = {f"{name}.json": to_json(part) for name, part in move._asdict().items()}
    store.put("moves", move.entry.run_id, texts)
    try:
        registry.move_alias(CHAMPION_ALIAS, move.target.version, expected=move.entry.previous)
        _read_back(registry, move.target)
    except (RegistryConflict, RegistryRefused):
        forget_move(store, move.entry.run_id)
        raise
    registry.record(move.entry, move.grounds)
    forget_move(store, move.entry.run_id)
    logger.info("%s is now %s", CHAMPION_ALIAS, move.target.version)


def record_cut_off(store: Store, registry: Registry) -> None:
    """Record the last move of the alias if the history lacks it and the store has it."""
    champion, history = registry.resolve(CHAMPION_ALIAS), registry.history()
    if isinstance(champion, NoChampion) or is_last_moved(history, champion):
        return
    for move in _kept(store):
        goes_on = [each.version for each in [move.entry.previous] if isinstance(each, ModelVersion)]
        if move.target == champion and goes_on == last_moved(history) and not concluded(history, move.entry):
            logger.info("recorded now: run %s moved to %s and was cut off", move.entry.run_id, champion.version)
            registry.record(move.entry, move.grounds)
            forget_move(store, move.entry.run_id)
            return


def forget_move(store: Store, run_id: str) -> None:
    """Forget a move that was recorded, or was not made."""
    store.drop("moves", run_id)


def kept_moves(store: Store, run_id: str) -> Sequence[Move]:
    """Return the one move that the run has stored and not recorded, made or not; empty if the run has stored none."""
    return [_read(store, run_id)] if store.contains("moves", run_id) else []


def _kept(store: Store) -> Iterator[Move]:
    """Yield all stored moves, the most recent first; skip what cannot be read."""
    for name in reversed(store.names("moves")):
        try:
            yield _read(store, name)
        except (FileNotFoundError, LineageError, UnicodeDecodeError):
            logger.warning("what is kept of a move in store/moves cannot be read: it is left out")


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
