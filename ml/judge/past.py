"""What the registry's history says about a candidate and the champion's alias at the time of a decision."""

from collections.abc import Sequence

from ml.records import (
    AbsentChampion,
    Champion,
    Circumstances,
    FoundChampion,
    Inputs,
    NoPromotion,
    PastPromotion,
    Probe,
    digest,
)
from ml.registry import HistoryEntry
from ml.run import Run


def circumstances_of(run: Run, probe: Probe, inputs: Inputs) -> Circumstances:
    """Of the candidate that was probed, from these inputs; raises RegistryUnavailable without a definite history.

    The time is that of the probe: a decision that is made again, after a crash, is the same.
    """
    history = run.registry.history()
    return Circumstances(
        time=probe.time,
        last_promotion=_last_promotion(history),
        after_rollback=_after_rollback(history),
        withdrawn=_withdrawn(history, probe.model, digest(inputs)),
        forced=run.force,
    )


def _last_promotion(history: Sequence[HistoryEntry]) -> PastPromotion | NoPromotion:
    promotions = [entry for entry in history if entry.verdict == "promote"]
    if not promotions:
        return NoPromotion()
    return PastPromotion(version=promotions[-1].version, time=promotions[-1].time)


def _after_rollback(history: Sequence[HistoryEntry]) -> bool:
    moves = [entry.verdict for entry in history if entry.promoted]
    return moves[-1:] == ["rollback"]


def _withdrawn(history: Sequence[HistoryEntry], model: str, inputs: str) -> Champion:
    """The version with these files, or promoted from these inputs, that was rolled back from and not restored."""
    withdrawn: dict[str, FoundChampion] = {}
    for entry in history:
        if entry.verdict == "rollback" and isinstance(entry.previous, FoundChampion):
            withdrawn[entry.previous.version] = entry.previous
        if entry.promoted:
            withdrawn.pop(entry.version, None)
    of_these_inputs = {entry.version for entry in history if (entry.verdict, entry.inputs) == ("promote", inputs)}
    found = [each for each in withdrawn.values() if each.model == model or each.version in of_these_inputs]
    return found[-1] if found else AbsentChampion()
