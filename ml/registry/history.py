"""Questions to the registry's history: who was champion, what was promoted last, what was withdrawn by a rollback.

In every function, `history` has the entries oldest first.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from ml.records import (
    Champion,
    HistoryEntry,
    Inputs,
    ModelVersion,
    NoPromotion,
    NothingWithdrawn,
    PastPromotion,
    digest,
)

_LOST = ("inconclusive", "keep", "blocked")

History = Sequence[HistoryEntry]


def is_last_moved(history: History, champion: ModelVersion) -> bool:
    """Say whether the last move of the alias in the history was to this version."""
    moves = [entry.version for entry in history if entry.promoted]
    return moves[-1:] == [champion.version]


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


def former_champions(history: History, predecessors: int) -> Sequence[str]:
    """Return the champion and as many former champions as `predecessors` says, the last one first, each one once."""
    champions = [entry.version for entry in reversed(history) if entry.promoted]
    return list(dict.fromkeys(champions))[: predecessors + 1]
