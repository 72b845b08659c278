"""Open a registry by its URL. This is apart from the interface, so that the interface imports no registry."""

import re
from typing import TYPE_CHECKING

from ml.config.environment import expanded
from ml.errors import ConfigError
from ml.registry import Registry
from ml.store import Store

if TYPE_CHECKING:
    from ml.store.shared.store import SharedStore

_OBJECT_STORES = ("s3", "gs")


def open_registry(url: str, store: Store) -> Registry:
    """Return the registry at `file:PATH`, `wandb://entity/project/model-name` or the store's own `s3://…` or `gs://…`.

    Raises ConfigError for any other URL, and for a folder where hosts share their store. Downloaded files are kept in
    the store.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "file" and rest:
        from ml.registry.local import LocalRegistry

        _refuse_folder_of_one(store)
        return LocalRegistry(expanded(re.sub("^//(?=[/~])", "", rest), "SINCERE_REGISTRY"))
    if scheme == "wandb":
        from ml.registry.wandb import WandbRegistry
        from ml.registry.wandb.address import parse_address

        return WandbRegistry(parse_address(url), store)
    if scheme in _OBJECT_STORES:
        from ml.registry.shared import SharedRegistry

        return SharedRegistry(_shared(url, store))
    raise ConfigError(
        f"no registry answers to the scheme {scheme!r}",
        where="SINCERE_REGISTRY",
        fix="use file:PATH or wandb://entity/project/model-name; with SINCERE_STORE, leave it empty",
    )


def _shared(url: str, store: Store) -> "SharedStore":
    from ml.store.shared.store import SharedStore

    if isinstance(store, SharedStore) and store.bucket.address == url.rstrip("/"):
        return store
    raise ConfigError(
        "a registry in an object store is beside the store that has its files",
        where="SINCERE_REGISTRY",
        fix="set SINCERE_STORE to that address, and leave SINCERE_REGISTRY empty",
    )


def _refuse_folder_of_one(store: Store) -> None:
    """A champion of one host, and a store of many, would drop each other's models."""
    if store.is_shared:
        raise ConfigError(
            "the store is shared by hosts, and the registry is a folder of one",
            where="SINCERE_REGISTRY",
            fix="leave it empty: then the registry is in SINCERE_STORE, too",
        )
