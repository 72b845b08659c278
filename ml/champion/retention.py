"""Which versions stay: the champion, its predecessors and all with an alias, so that a rollback is always possible."""

from ml.config import RetentionConfig
from ml.registry.history import former_champions
from ml.run import Run


def retain(run: Run, config: RetentionConfig) -> None:
    """Drop the files of all other versions, from the registry and from the store, which shares them by hard links."""
    for version in run.registry.prune(former_champions(run.registry.history(), config.predecessors)):
        run.store.drop("models", version.model)
