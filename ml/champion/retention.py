"""Keep the champion, its predecessors and every version with an alias, so that a rollback is always possible."""

from ml.config import RetentionConfig
from ml.registry.history import former_champions
from ml.run import Run


def retain(run: Run, config: RetentionConfig) -> None:
    """Delete the files of all other versions, in the registry and in the store, which share them by hard links."""
    for version in run.registry.prune(former_champions(run.registry.history(), config.predecessors)):
        run.store.drop("models", version.model)
