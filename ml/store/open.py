"""Open the store of a home: on this machine alone, or with an object store behind it."""

from collections.abc import Mapping
from pathlib import Path

from ml.store import Store


def open_store(environment: Mapping[str, str], home: Path) -> Store:
    """Return the store; SINCERE_STORE has the address of the object store. Raises ConfigError for another address."""
    if address := environment.get("SINCERE_STORE"):
        from ml.store.shared.bucket import Bucket
        from ml.store.shared.store import SharedStore

        return SharedStore(home / "store", Bucket(address))
    return Store(home / "store")
