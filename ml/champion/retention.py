"""Keep the champion, its predecessors, every version with an alias, and every model on its way to a verdict."""

import time
from collections.abc import Collection, Iterator

from ml.champion.pending_promotions import pending_models
from ml.config import RetentionConfig
from ml.errors import LineageError
from ml.registry import CHAMPION_ALIAS
from ml.registry.history import former_champions, refuse_unrecorded_move
from ml.run import Run
from ml.store import Store

_ABANDONED_SECONDS = 14 * 24 * 3600


def retain(run: Run, config: RetentionConfig) -> None:
    """Drop the files of all other versions from the registry and from the store, which shares them by hard links.

    Raises RegistryDamaged, and drops nothing, if the history does not end with the champion of now.
    """
    history = run.registry.history()
    refuse_unrecorded_move(history, run.registry.resolve(CHAMPION_ALIAS), "the registry")
    on_their_way = {*pending_models(run.store), *_models_underway(run.store)}
    for version in run.registry.prune({*former_champions(history, config.predecessors), *on_their_way}):
        if version.model not in on_their_way:
            run.store.drop("models", version.model)


def mark_underway(run: Run, model: str) -> None:
    """Keep the model that the run has trained, though it is not registered, until the run has ended."""
    run.store.put("underway", run.run_id, {"model": model})


def end_underway(run: Run) -> None:
    """Stop keeping the model of a run that has ended."""
    run.store.drop("underway", run.run_id)


def _models_underway(store: Store) -> Collection[str]:
    return {model for run_id in store.names("underway") for model in _model_underway(store, run_id)}


def _model_underway(store: Store, run_id: str) -> Iterator[str]:
    """Yield the model, but nothing for a run that was abandoned or that another process has just ended."""
    try:
        file = store.open("underway", run_id) / "model"
        if time.time() - file.stat().st_mtime < _ABANDONED_SECONDS:
            yield file.read_text(encoding="utf-8")
    except (LineageError, FileNotFoundError):
        return
