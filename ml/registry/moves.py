"""The move of the champion's alias and its record: in the end both or neither, though the process may die in between.

A move is kept in the store before it is made. Whoever moves the alias next first records one that was cut off, so that
the history has every move, in the order in which they were made. Each function is called in the registry's turn.
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
    """The alias moved from `entry.previous` to `target`, and the grounds for it."""

    target: ModelVersion
    entry: HistoryEntry
    grounds: Decision | Rollback


def move_champion(store: Store, registry: Registry, move: Move) -> None:
    """Make the move and record it.

    Raises RegistryConflict if the alias points neither where it did nor at the target: a move that was not made is
    forgotten. `record_cut_off` comes first, before what the move depends on is read from the history.
    """
    texts = {f"{name}.json": to_json(part) for name, part in move._asdict().items()}
    store.put("moves", move.entry.run_id, texts)
    try:
        registry.move_alias(CHAMPION_ALIAS, move.target.version, expected=move.entry.previous)
        _read_back(registry, move.target)
    except (RegistryConflict, RegistryRefused):
        store.drop("moves", move.entry.run_id)
        raise
    registry.record(move.entry, move.grounds)
    logger.info("%s is now %s", CHAMPION_ALIAS, move.target.version)


def record_cut_off(store: Store, registry: Registry) -> None:
    """Record the move that the alias shows and the history lacks, if it is one that was kept here."""
    champion, history = registry.resolve(CHAMPION_ALIAS), registry.history()
    if isinstance(champion, NoChampion) or is_last_moved(history, champion):
        return
    for move in _kept(store):
        goes_on = [each.version for each in [move.entry.previous] if isinstance(each, ModelVersion)]
        if move.target == champion and goes_on == last_moved(history) and not concluded(history, move.entry):
            logger.info("recorded now: run %s moved to %s and was cut off", move.entry.run_id, champion.version)
            registry.record(move.entry, move.grounds)
            return


def kept_moves(store: Store, run_id: str) -> Sequence[Move]:
    """The one move that the run set out to make, made or not; empty if it did not come so far."""
    return [_read(store, run_id)] if store.contains("moves", run_id) else []


def _kept(store: Store) -> Iterator[Move]:
    """The most recent first; what cannot be read is no move."""
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
    """Raises RegistryConflict if the alias does not point where it was just moved."""
    if registry.resolve(CHAMPION_ALIAS) != promoted:
        raise RegistryConflict(
            f"the alias {CHAMPION_ALIAS} was moved to {promoted.version}, but points elsewhere now",
            where="the registry",
            fix="see the history for who moved it, then start a new run",
        )
