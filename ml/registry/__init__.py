"""The interface of a registry of model versions."""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ml.errors import LineageError, RegistryDamaged
from ml.records import Champion, Change, Decision, HistoryEntry, ModelVersion, Rollback
from ml.store import Store
from ml.store.files import tree_digest

CHAMPION_ALIAS = "production"
CANDIDATE_ALIAS = "candidate"

Grounds = Decision | Rollback | Change


class Registry(Protocol):
    """Versions of models by digest, aliases that move atomically, and an append-only history.

    Aliases and history vouch for each other. Where one is lost, or contradicts the other, each method but `check`
    raises RegistryDamaged before it changes anything.
    """

    def resolve(self, alias: str) -> Champion:
        """Return the version that the alias points at, or NoChampion if it provably points at none.

        Raises RegistryUnavailable if the registry gives no definite answer.
        """
        ...

    def find(self, version: str) -> ModelVersion:
        """Return the version with its digest, though its files may be gone; raises LineageError if there is none."""
        ...

    def register(self, artifact: Path, model: str) -> ModelVersion:
        """Store an artifact as a version and point `candidate` at it; the same digest always gives the same version."""
        ...

    def fetch(self, version: str) -> Path:
        """Return the version's files as a local folder, verified against its digest."""
        ...

    def move_alias(self, alias: str, version: str, *, expected: Champion) -> None:
        """Point the alias at a version, if it still points at `expected`; raises RegistryConflict if it does not.

        If the alias points at that version already, nothing happens: so a retry after a crash succeeds.
        """
        ...

    def record(self, entry: HistoryEntry, grounds: Grounds) -> None:
        """Append an entry to the history, unless the run has concluded before or made the same rollback."""
        ...

    def history(self) -> Sequence[HistoryEntry]:
        """Return all entries, oldest first."""
        ...

    def prune(self, keep: Collection[str]) -> Sequence[ModelVersion]:
        """Drop the files of all versions not in `keep` and without an alias; return all versions without files.

        `keep` has versions by name, or models by digest. A dropped version's name is never given to another model.
        """
        ...

    def kept_in_store(self) -> Collection[str]:
        """Return the models whose files the registry has in the store alone: they stay there."""
        ...

    def turn(self) -> AbstractContextManager[None]:
        """Let one process at a time decide who is champion, until all of that is recorded."""
        ...

    def check(self) -> Sequence[str]:
        """Return what is wrong, in words; verify each version's digest. Empty if all is well."""
        ...


def refuse_other_files(artifact: Path, model: str) -> None:
    """Raise LineageError if `model` is not the digest of the artifact's files."""
    if tree_digest(artifact) != model:
        raise LineageError(
            f"the files of model {model[:12]} are not those that the record names",
            where="the store's models",
            fix="train again; do not edit what is in the store",
        )


def stored_model(store: Store, model: str) -> Path:
    """Return the files of a model in the store, verified against its digest; raises LineageError for other files."""
    folder = store.open("models", model)
    refuse_other_files(folder, model)
    return folder


def damage(checks: Iterable[Callable[[], object]]) -> Sequence[str]:
    """Make all checks, and return what they find wrong, in words."""
    found = []
    for check in checks:
        try:
            check()
        except RegistryDamaged as error:
            found.append(str(error))
    return found
