"""A registry that refuses writes, for dry runs."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NoReturn

from ml.errors import ConfigError
from ml.records import Champion, HistoryEntry, ModelVersion
from ml.registry import Grounds, Registry


class ReadOnlyRegistry:
    """Passes reads on to another registry, and raises ConfigError for every write."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def resolve(self, alias: str) -> Champion:
        """Return what the alias points at."""
        return self._registry.resolve(alias)

    def find(self, version: str) -> ModelVersion:
        """Return the version with its digest."""
        return self._registry.find(version)

    def check(self) -> Sequence[str]:
        """Return what is wrong."""
        return self._registry.check()

    def fetch(self, version: str) -> Path:
        """Return the version's files."""
        return self._registry.fetch(version)

    def history(self) -> Sequence[HistoryEntry]:
        """Return all entries, oldest first."""
        return self._registry.history()

    def kept_in_store(self) -> Collection[str]:
        """Return the models that stay in the store."""
        return self._registry.kept_in_store()

    def register(self, artifact: Path, model: str) -> NoReturn:
        """Raise ConfigError."""
        _refuse()

    def move_alias(self, alias: str, version: str, *, expected: Champion) -> NoReturn:
        """Raise ConfigError."""
        _refuse()

    def record(self, entry: HistoryEntry, grounds: Grounds) -> NoReturn:
        """Raise ConfigError."""
        _refuse()

    def prune(self, keep: Collection[str]) -> NoReturn:
        """Raise ConfigError."""
        _refuse()

    def turn(self) -> NoReturn:
        """Refused."""
        _refuse()


def _refuse() -> NoReturn:
    raise ConfigError("a dry run writes nothing to the registry", where="--dry-run", fix="run again without it")
