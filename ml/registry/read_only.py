"""A registry that answers and never changes: what a dry run is given."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NoReturn

from ml.errors import ConfigError
from ml.records import Champion, HistoryEntry, ModelVersion
from ml.registry import Grounds, Registry


class ReadOnlyRegistry:
    """Passes questions on to another registry, and raises ConfigError for anything that would write to it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def resolve(self, alias: str) -> Champion:
        """What the alias points at."""
        return self._registry.resolve(alias)

    def find(self, version: str) -> ModelVersion:
        """The version and its digest."""
        return self._registry.find(version)

    def check(self) -> Sequence[str]:
        """What is wrong."""
        return self._registry.check()

    def fetch(self, version: str) -> Path:
        """The version's files."""
        return self._registry.fetch(version)

    def history(self) -> Sequence[HistoryEntry]:
        """All entries, oldest first."""
        return self._registry.history()

    def register(self, artifact: Path, model: str) -> NoReturn:
        """Refused."""
        _refuse()

    def move_alias(self, alias: str, version: str, *, expected: Champion) -> NoReturn:
        """Refused."""
        _refuse()

    def record(self, entry: HistoryEntry, grounds: Grounds) -> NoReturn:
        """Refused."""
        _refuse()

    def prune(self, keep: Collection[str]) -> NoReturn:
        """Refused."""
        _refuse()

    def turn(self) -> NoReturn:
        """Refused."""
        _refuse()


def _refuse() -> NoReturn:
    raise ConfigError("a dry run writes nothing to the registry", where="--dry-run", fix="run again without it")
