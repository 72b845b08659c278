"""Which versions stay: the champion, its predecessors and all with an alias, so that a rollback is always possible."""

from collections.abc import Sequence

from ml.config import RetentionConfig
from ml.registry import HistoryEntry
from ml.run import Run


def retain(run: Run, config: RetentionConfig) -> None:
    """Drop the files of all other versions, from the registry and from the store, which shares them by hard links."""
    for version in run.registry.prune(former_champions(run.registry.history(), config.predecessors)):
        run.store.drop("models", version.model)


def former_champions(history: Sequence[HistoryEntry], predecessors: int) -> list[str]:
    """The champion by the history, and the versions that were it before, the most recent first, without repeats."""
    champions = [entry.version for entry in reversed(history) if entry.promoted]
    return list(dict.fromkeys(champions))[: predecessors + 1]
