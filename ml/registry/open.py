"""The way to a registry by its URL; apart from the interface, so that who takes a registry does not import them all."""

import re

from ml.config.environment import expanded
from ml.errors import ConfigError
from ml.registry import Registry
from ml.store import Store


def open_registry(url: str, store: Store) -> Registry:
    """The registry at `file:PATH` or `wandb://entity/project/model-name`; raises ConfigError for any other URL.

    What is fetched from afar is kept in the store.
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
