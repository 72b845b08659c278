"""What the registry's history says: who was champion, what was promoted last, what was rolled back from.

Everywhere: `history` has the entries oldest first.
"""

from collections.abc import Sequence

from ml.records import (
    Champion,
    HistoryEntry,
    ModelVersion,
    NoChampion,
    NoPromotion,
    NothingWithdrawn,
    PastPromotion,
)

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


def withdrawn(history: History, model: str, inputs: str) -> ModelVersion | NothingWithdrawn:
    """The version with these files, or promoted from these inputs, that was rolled back from and not restored."""
    gone: dict[str, ModelVersion] = {}
    for entry in history:
        if entry.verdict == "rollback" and isinstance(entry.previous, ModelVersion):
            gone[entry.previous.version] = entry.previous
        if entry.promoted:
            gone.pop(entry.version, None)
    of_these_inputs = {entry.version for entry in history if (entry.verdict, entry.inputs) == ("promote", inputs)}
    found = [each for each in gone.values() if each.model == model or each.version in of_these_inputs]
    return found[-1] if found else NothingWithdrawn()


def promotions_with(history: History, champion: Champion, inputs: str) -> Sequence[HistoryEntry]:
    """The entries of the runs that made this champion from these inputs."""
    if isinstance(champion, NoChampion):
        return ()
    stated = ("promote", champion.version, inputs)
    return [entry for entry in history if (entry.verdict, entry.version, entry.inputs) == stated]


def former_champions(history: History, predecessors: int) -> Sequence[str]:
    """The champion by the history, and the versions that were it before, the most recent first, without repeats."""
    champions = [entry.version for entry in reversed(history) if entry.promoted]
    return list(dict.fromkeys(champions))[: predecessors + 1]
