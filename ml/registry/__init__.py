"""Where model versions live: the interface that every registry keeps."""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ml.errors import LineageError, RegistryDamaged
from ml.records import Champion, Change, Decision, HistoryEntry, ModelVersion, Rollback
from ml.store.files import tree_digest

CHAMPION_ALIAS = "production"
CANDIDATE_ALIAS = "candidate"

Grounds = Decision | Rollback | Change


class Registry(Protocol):
    """Versions by digest, aliases that move atomically, and a history that only grows.

    Aliases and history vouch for each other. Where one is lost, or contradicts the other, each method but `check`
    raises RegistryDamaged before it changes anything.
    """

    def resolve(self, alias: str) -> Champion:
        """What the alias points at, or proven absence; raises RegistryUnavailable when neither is sure."""
        ...

    def find(self, version: str) -> ModelVersion:
        """The version and its digest, though its files may be gone; raises LineageError if there is none."""
        ...

    def register(self, artifact: Path, model: str) -> ModelVersion:
        """Keep an artifact as a version and point `candidate` at it; the same digest again is the same version."""
        ...

    def fetch(self, version: str) -> Path:
        """The version's files as a local folder, verified against its digest."""
        ...

    def move_alias(self, alias: str, version: str, *, expected: Champion) -> None:
        """Point the alias at a version, if it still points at `expected`; raises RegistryConflict if it does not.

        An alias that points at that version already stays, whatever was expected: a retry after a crash succeeds.
        """
        ...

    def record(self, entry: HistoryEntry, grounds: Grounds) -> None:
        """Append to the history, unless the run has concluded already; a rollback counts once by its grounds."""
        ...

    def history(self) -> Sequence[HistoryEntry]:
        """All entries, oldest first."""
        ...

    def prune(self, keep: Collection[str]) -> Sequence[ModelVersion]:
        """Drop the files of all versions but these and those with an alias; gives all versions without files.

        `keep` has versions by name, or models by digest. A dropped version's name is never given to another model.
        """
        ...

    def turn(self) -> AbstractContextManager[None]:
        """One process at a time decides who is champion; it holds its turn until all of that is recorded."""
        ...

    def check(self) -> Sequence[str]:
        """What is wrong, in words, each version's digest included; empty if all is well."""
        ...


def refuse_other_files(artifact: Path, model: str) -> None:
    """Raises LineageError if the files are not those of the digest."""
    if tree_digest(artifact) != model:
        raise LineageError(
            f"the files of model {model[:12]} are not those that the record names",
            where="the store's models",
            fix="train again; do not edit what is in the store",
        )


def damage(checks: Iterable[Callable[[], object]]) -> Sequence[str]:
    """What the checks find wrong, in words; each of them is made."""
    found = []
    for check in checks:
        try:
            check()
        except RegistryDamaged as error:
            found.append(str(error))
    return found
