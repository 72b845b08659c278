"""Open a registry by its URL. This is apart from the interface, so that the interface imports no registry."""

import re

from ml.config.environment import expanded
from ml.errors import ConfigError
from ml.registry import Registry
from ml.store import Store


def open_registry(url: str, store: Store) -> Registry:
    """Return the registry at `file:PATH` or `wandb://entity/project/model-name`; raises ConfigError for any other URL.

    Downloaded files are kept in the store.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "file" and rest:
        from ml.registry.local import LocalRegistry

        return LocalRegistry(expanded(re.sub("^//(?=[/~])", "", rest), "SINCERE_REGISTRY"))
    if scheme == "wandb":
        from ml.registry.wandb import WandbRegistry
        from ml.registry.wandb.address import parse_address

        return WandbRegistry(parse_address(url), store)
    raise ConfigError(
        f"no registry answers to the scheme {scheme!r}",
        where="SINCERE_REGISTRY",
        fix="use file:PATH or wandb://entity/project/model-name",
    )
