"""Questions to the registry's history: who was champion, what was promoted last, what was withdrawn by a rollback.

In every function, `history` has the entries oldest first.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal, TypedDict, Unpack

from ml.errors import RegistryDamaged
from ml.records import (
    Champion,
    ChampionUnmeasured,
    HistoryEntry,
    Inputs,
    ModelVersion,
    NoChampion,
    NoGains,
    NoPromotion,
    NothingWithdrawn,
    PastPromotion,
    SourceName,
    UnknownSource,
    digest,
)
from ml.registry import CHAMPION_ALIAS

_LOST = ("inconclusive", "keep", "blocked")

History = Sequence[HistoryEntry]
Repeated = Literal["unchanged", "rollback"]


class _What(TypedDict):
    """What an entry says beside the figures of an earlier one."""

    reason: str
    previous: Champion
    decision: str
    triggered_by: str


def last_moved(history: History) -> Sequence[str]:
    """Return the version that the alias was last moved to; empty if it never was moved."""
    return [entry.version for entry in history if entry.promoted][-1:]


def is_last_moved(history: History, champion: ModelVersion) -> bool:
    """Say whether the last move of the alias in the history was to this version."""
    return last_moved(history) == [champion.version]


def refuse_lost_champion(history: History, champion: Champion, where: str) -> None:
    """Raise RegistryDamaged if the alias points at nothing although the history has a champion."""
    if isinstance(champion, NoChampion) and (moved := last_moved(history)):
        raise RegistryDamaged(
            f"{CHAMPION_ALIAS} points at nothing, but by the history at {moved[0]}",
            where=where,
            fix=f"see who removed the alias, and put it back on {moved[0]}; `python -m ml registry check` lists more",
        )


def refuse_unrecorded_move(history: History, champion: Champion, where: str) -> None:
    """Raise RegistryDamaged if the last move of the alias in the history was to another version."""
    refuse_lost_champion(history, champion, where)
    if isinstance(champion, ModelVersion) and not is_last_moved(history, champion):
        moved = "".join(last_moved(history)) or "nothing"
        raise RegistryDamaged(
            f"{CHAMPION_ALIAS} points at {champion.version}, but by the history at {moved}",
            where=where,
            fix="bring back the entry that the history has lost; if the alias was moved by hand, record that:"
            f" `python -m ml rollback --to {champion.version} --reason …`",
        )


def concluded(history: History, entry: HistoryEntry) -> Sequence[HistoryEntry]:
    """Return the entry by which this run has concluded, or has made the same rollback; empty if there is none."""
    past = [each for each in history if each.run_id == entry.run_id]
    rollbacks = [each for each in past if each.verdict == "rollback" and each.decision == entry.decision]
    return rollbacks if entry.verdict == "rollback" else conclusions(past, entry.run_id)


def conclusions(history: History, run_id: str) -> Sequence[HistoryEntry]:
    """Return the entry with the verdict of the run; empty if there is none. A rollback is no verdict."""
    return [entry for entry in history if entry.run_id == run_id and entry.verdict != "rollback"][:1]


def judged_again(entry: HistoryEntry, run_id: str, *, verdict: Repeated, **what: Unpack[_What]) -> HistoryEntry:
    """Return an entry of now about the version that an earlier entry judged, with the figures of then.

    Nothing was measured: there are no gains, and no champion's figures. A rollback moves the alias.
    """
    return replace(
        entry,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        run_id=run_id,
        promoted=verdict == "rollback",
        verdict=verdict,
        watch=ChampionUnmeasured(),
        gains=NoGains(),
        **what,
    )


def last_promotion(history: History) -> PastPromotion | NoPromotion:
    """Return the last promotion; a rollback does not count."""
    promotions = [entry for entry in history if entry.verdict == "promote"]
    if not promotions:
        return NoPromotion()
    return PastPromotion(version=promotions[-1].version, time=promotions[-1].time)


def after_rollback(history: History) -> bool:
    """Say whether the last move of the alias in the history was a rollback."""
    moves = [entry.verdict for entry in history if entry.promoted]
    return moves[-1:] == ["rollback"]


def withdrawn(history: History, inputs: Inputs, weights: Collection[str] = ()) -> ModelVersion | NothingWithdrawn:
    """Return the version that a rollback withdrew, that was not restored, and that has these weights or these inputs.

    Inputs are compared without the champion.
    """
    gone: dict[str, ModelVersion] = {}
    for entry in history:
        if entry.verdict == "rollback" and isinstance(entry.previous, ModelVersion):
            gone[entry.previous.version] = entry.previous
        if entry.promoted:
            gone.pop(entry.version, None)
    same = {
        entry.version
        for entry in history
        if entry.weights in weights or (entry.verdict == "promote" and _of_inputs(entry, inputs))
    }
    found = [each for each in gone.values() if each.version in same]
    return found[-1] if found else NothingWithdrawn()


def judged_with(history: History, champion: Champion, inputs: Inputs) -> Sequence[HistoryEntry]:
    """Return the settled entries of these inputs that made this champion, or were judged against it and lost."""
    return [
        entry for entry in history if entry.settled and _judged_beside(entry, champion) and _of_inputs(entry, inputs)
    ]


def _judged_beside(entry: HistoryEntry, champion: Champion) -> bool:
    if entry.verdict == "promote":
        return isinstance(champion, ModelVersion) and entry.version == champion.version
    return entry.verdict in _LOST and entry.previous == champion


def _of_inputs(entry: HistoryEntry, inputs: Inputs) -> bool:
    """Return whether the entry's run had these inputs, whoever its champion was."""
    return entry.inputs == digest(replace(inputs, champion=entry.previous))


def champion_source(history: History, champion: Champion) -> SourceName | UnknownSource | NoPromotion:
    """Return the source of the rows that the champion was trained on, as its promotion says, if there was one."""
    if isinstance(champion, ModelVersion):
        for entry in reversed(history):
            if (entry.verdict, entry.version) == ("promote", champion.version):
                return entry.source
    return NoPromotion()


def was_promoted(history: History, version: str) -> bool:
    """Say whether a verdict has made the version champion, and not a forced rollback alone."""
    return any((entry.verdict, entry.version) == ("promote", version) for entry in history)


def predecessor(history: History) -> Sequence[str]:
    """Return the version that a rollback goes back to; empty if there was only one champion.

    Promotions pile champions up; a rollback takes the pile down to its target, or puts one that is not in it on top.
    The predecessor lies under the champion. Under the first lies none: it is the champion of before the last rollback.
    """
    moves = [entry for entry in history if entry.promoted]
    pile: list[str] = []
    for entry in moves:
        pile = _pile_after(pile, entry)
    return pile[-2:-1] or [each.previous.version for each in moves[-1:] if isinstance(each.previous, ModelVersion)]


def _pile_after(pile: Sequence[str], entry: HistoryEntry) -> list[str]:
    before = [entry.previous.version] if isinstance(entry.previous, ModelVersion) else []
    below = [*pile, *before] if list(pile[-1:]) != before else list(pile)
    if entry.verdict == "rollback" and entry.version in below:
        return below[: len(below) - below[::-1].index(entry.version)]
    return [*below, entry.version]


def former_champions(history: History, predecessors: int) -> Sequence[str]:
    """Return the champion and as many former champions as `predecessors` says, the last one first, each one once."""
    champions = [entry.version for entry in reversed(history) if entry.promoted]
    return list(dict.fromkeys(champions))[: predecessors + 1]
