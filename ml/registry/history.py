"""Questions to the registry's history: who was champion, what was promoted last, what was withdrawn by a rollback.

In every function, `history` has the entries oldest first.
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


def withdrawn(history: History, model: str, inputs: str) -> ModelVersion | NothingWithdrawn:
    """Return the version that a rollback withdrew, that was not restored, and that has these files or these inputs."""
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
    """Return the entries that promoted this champion from these inputs."""
    if isinstance(champion, NoChampion):
        return ()
    stated = ("promote", champion.version, inputs)
    return [entry for entry in history if (entry.verdict, entry.version, entry.inputs) == stated]


def former_champions(history: History, predecessors: int) -> Sequence[str]:
    """Return the champion and as many former champions as `predecessors` says, the last one first, each one once."""
    champions = [entry.version for entry in reversed(history) if entry.promoted]
    return list(dict.fromkeys(champions))[: predecessors + 1]
