"""Where a DAG keeps its state and its registry, and how that is read; a process of its own imports this, too."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ml.config.environment import home_of, registry_of
from ml.records import HistoryEntry
from ml.registry import CHAMPION_ALIAS
from ml.registry.history import refuse_lost_champion
from ml.registry.open import open_registry
from ml.store import Store
from ml.store.open import open_store
from retraining import PROJECT
from retraining.model import Model

History = Sequence[HistoryEntry]


class Place(NamedTuple):
    """Where a DAG of this kind keeps its state: its home, the addresses of its registry and of its object store.

    An empty address means that there is no object store.
    """

    home: Path
    registry: str
    store: str = ""


def place_of(model: Model) -> Place:
    """Return the places of a model."""
    return place_in(model.environment(os.environ))


def place_in(environment: Mapping[str, str]) -> Place:
    """Return the places that an environment names."""
    home = home_of(environment, PROJECT)
    return Place(home, registry_of(environment, home), environment.get("SINCERE_STORE", ""))


def store_of(place: Place) -> Store:
    """Return the store, with the object store that is behind it."""
    return open_store({"SINCERE_STORE": place.store}, place.home)


def read_history(place: Place) -> History:
    """Return the history, oldest first; raises SincereError if the registry is away, or has lost its champion."""
    registry = open_registry(place.registry, store_of(place))
    history = registry.history()
    refuse_lost_champion(history, registry.resolve(CHAMPION_ALIAS), "the registry")
    return history
