"""What the registry's history says: who was champion, what was promoted last, what was rolled back from.

Everywhere: `history` has the entries oldest first.
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
    """Whether the alias was, by the history, last moved to that version."""
    moves = [entry.version for entry in history if entry.promoted]
    return moves[-1:] == [champion.version]


def last_promotion(history: History) -> PastPromotion | NoPromotion:
    """The latest promotion; a rollback is none."""
    promotions = [entry for entry in history if entry.verdict == "promote"]
    if not promotions:
        return NoPromotion()
    return PastPromotion(version=promotions[-1].version, time=promotions[-1].time)


def after_rollback(history: History) -> bool:
    """Whether the alias was last moved by a rollback."""
    moves = [entry.verdict for entry in history if entry.promoted]
    return moves[-1:] == ["rollback"]


def withdrawn(history: History, inputs: Inputs, weights: Collection[str] = ()) -> ModelVersion | NothingWithdrawn:
    """The version with such weights, or promoted from these inputs, that was rolled back from and not restored.

    Beside whom it was promoted does not count.
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
    """The settled entries of runs from these inputs that made this champion, or were judged against it and lost."""
    return [
        entry for entry in history if entry.settled and _judged_beside(entry, champion) and _of_inputs(entry, inputs)
    ]


def _judged_beside(entry: HistoryEntry, champion: Champion) -> bool:
    if entry.verdict == "promote":
        return isinstance(champion, ModelVersion) and entry.version == champion.version
    return entry.verdict in _LOST and entry.previous == champion


def _of_inputs(entry: HistoryEntry, inputs: Inputs) -> bool:
    """Whether the entry's run had these inputs, beside whatever champion it met."""
    return entry.inputs == digest(replace(inputs, champion=entry.previous))


def former_champions(history: History, predecessors: int) -> Sequence[str]:
    """The champion by the history, and the versions that were it before, the most recent first, without repeats."""
    champions = [entry.version for entry in reversed(history) if entry.promoted]
    return list(dict.fromkeys(champions))[: predecessors + 1]
