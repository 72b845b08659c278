"""A registry in the object store of the state, for any number of hosts.

registry/states/…            versions, aliases and history: see states.py
registry/decisions/<digest>  the grounds of an entry
models/<digest>              a version's files: those of the store

Each change is written only if nobody else has written since it was read. So of two hosts that move an alias at once one
does, and the other finds it elsewhere.
"""

import hashlib
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from ml.errors import (
    ConfigError,
    LineageError,
    RegistryConflict,
    RegistryDamaged,
    RegistryRefused,
    RegistryUnavailable,
    StoreDamaged,
    StoreRefused,
    StoreUnavailable,
)
from ml.records import Champion, HistoryEntry, ModelVersion, NoChampion, RegistryState, to_json
from ml.registry import CANDIDATE_ALIAS, CHAMPION_ALIAS, Grounds, damage, refuse_other_files
from ml.registry.history import concluded, refuse_lost_champion, refuse_unrecorded_move
from ml.registry.states import NOTHING, Numbered, States
from ml.store.files import tree_digest
from ml.store.shared.bucket import WHERE
from ml.store.shared.store import SharedStore

_MOST_TRIES = 20
_WHERE = f"the registry, {WHERE}"

_Change = Callable[[RegistryState], RegistryState]


class SharedRegistry:
    """Versions, aliases and history in the object store of a store; the first write makes them."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store
        self._states = States(store.bucket)

    def resolve(self, alias: str) -> Champion:
        """Return the version that the alias points at, or NoChampion if the state that was read has none."""
        with _answering():
            state = self._states.read().state
            if alias == CHAMPION_ALIAS:
                _refuse_lost(state)
            return _resolve(state, alias)

    def find(self, version: str) -> ModelVersion:
        """Return the version with its digest, though its files may be gone."""
        with _answering():
            return _version(self._states.read().state, version)

    def register(self, artifact: Path, model: str) -> ModelVersion:
        """Store an artifact as a version and point `candidate` at it; raises LineageError for another digest."""
        refuse_other_files(artifact, model)
        with _answering():
            self._keep(artifact, model)
            state = self._change(partial(_with_candidate, model))
            return _version(state, state.aliases[CANDIDATE_ALIAS])

    def fetch(self, version: str) -> Path:
        """Return the version's files, on disk and verified; raises LineageError if it has none."""
        with _answering():
            state = self._states.read().state
            found = _version(state, version)
            if version in state.dropped:
                raise LineageError(
                    f"the files of {version} are gone: retention dropped them",
                    where=_WHERE,
                    fix="name a later version, or raise retention.predecessors before the next run",
                )
            return self._proven(found)

    def move_alias(self, alias: str, version: str, *, expected: Champion) -> None:
        """Move the alias from `expected` to a version; do nothing if it points there already."""
        with _answering():
            self._change(partial(_with_alias, alias, version, expected))

    def record(self, entry: HistoryEntry, grounds: Grounds) -> None:
        """Append an entry to the history and store its grounds, unless the run has concluded before."""
        with _answering():
            if concluded(self._states.read().state.history, entry):
                return
            self._store.bucket.write(f"registry/decisions/{entry.decision}.json", to_json(grounds).encode())
            self._change(partial(_with_entry, entry))

    def history(self) -> Sequence[HistoryEntry]:
        """Return all entries, oldest first."""
        with _answering():
            return self._states.read().state.history

    def prune(self, keep: Collection[str]) -> Sequence[ModelVersion]:
        """Count the files of all versions not in `keep` and without an alias as dropped; return all without files.

        The store drops them, which has them.
        """
        with _answering():
            state = self._change(partial(_without, keep))
            return [version for version in state.versions if version.version in state.dropped]

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let one process on one host decide who is champion."""
        with ExitStack() as held:
            with _answering():
                waiting = "waiting for another process that decides who is champion"
                held.enter_context(self._store.lock("champion", waiting=waiting))
            yield

    def check(self) -> Sequence[str]:
        """Return what is wrong with aliases and history, with the grounds of each entry and with each version."""
        with _answering():
            try:
                state = self._states.read().state
            except RegistryDamaged as error:
                return [str(error)]
            there = [version for version in state.versions if version.version not in state.dropped]
            checks: list[Callable[[], object]] = [
                partial(_check_champion, state),
                *(partial(self._check_grounds, entry) for entry in state.history),
                *(partial(self._proven, version) for version in there),
            ]
            return damage(checks)

    def kept_in_store(self) -> Collection[str]:
        """Return the models of all versions that have files: the store has them."""
        with _answering():
            state = self._states.read().state
            return {version.model for version in state.versions if version.version not in state.dropped}

    def adopt(self, state: RegistryState, files: Mapping[str, Path], grounds: Iterable[Path]) -> None:
        """Take over what another registry remembers, with the files of its models and the grounds of its entries.

        Raises ConfigError if this one remembers something else already.
        """
        with _answering():
            before = self._states.read()
            if before.state not in (NOTHING, state):
                raise ConfigError(
                    "there is another registry already", where=WHERE, fix="name a prefix below which nothing is"
                )
            if before == Numbered(0, NOTHING):
                self._states.write(before, NOTHING)
            for model, artifact in files.items():
                self._keep(artifact, model)
            for path in grounds:
                self._store.bucket.write(f"registry/decisions/{path.name}", path.read_bytes())
            now = self._states.read()
            if now.state != state and not (now.state == NOTHING and self._states.write(now, state)):
                raise RegistryUnavailable("another host wrote to it meanwhile", where=_WHERE, fix="try again")

    def _change(self, change: _Change) -> RegistryState:
        """Write the changed state, unless nothing changes; where somebody else was quicker, change what he wrote."""
        for _ in range(_MOST_TRIES):
            before = self._states.read()
            _refuse_lost(before.state)
            after = change(before.state)
            if after == before.state or self._states.write(before, after):
                return after
        raise RegistryUnavailable(
            f"others wrote to the registry {_MOST_TRIES} times meanwhile", where=_WHERE, fix="try again"
        )

    def _keep(self, artifact: Path, model: str) -> None:
        """Have the files in the store, which has them already if they were trained there."""
        if self._store.use("models", model):
            return
        with self._store.staging() as folder:
            shutil.copytree(artifact, folder, dirs_exist_ok=True)
            self._store.commit(folder, "models", model)

    def _proven(self, version: ModelVersion) -> Path:
        """Return the files of a version; those that were changed on this disk are fetched again."""
        try:
            folder = self._store.open("models", version.model)
            if tree_digest(folder) != version.model:
                folder = self._store.open_anew("models", version.model)
        except (LineageError, StoreDamaged):
            raise _damaged(f"the files of {version.version} are lost or changed") from None
        if tree_digest(folder) != version.model:
            raise _damaged(f"the files of {version.version} are not those that were registered")
        return folder

    def _check_grounds(self, entry: HistoryEntry) -> None:
        lost = _damaged(f"the grounds of run {entry.run_id} are lost or changed")
        try:
            content = self._store.bucket.read(f"registry/decisions/{entry.decision}.json")
        except FileNotFoundError:
            raise lost from None
        if hashlib.sha256(content).hexdigest() != entry.decision:
            raise lost


def _with_candidate(model: str, state: RegistryState) -> RegistryState:
    known = [version for version in state.versions if version.model == model]
    new = [ModelVersion(version=f"v{len(state.versions) + 1}", model=model)] if not known else []
    version = [*known, *new][0].version
    return replace(
        state,
        versions=(*state.versions, *new),
        dropped=tuple(each for each in state.dropped if each != version),
        aliases={**state.aliases, CANDIDATE_ALIAS: version},
    )


def _with_alias(alias: str, version: str, expected: Champion, state: RegistryState) -> RegistryState:
    current, target = _resolve(state, alias), _version(state, version)
    if current not in (target, expected):
        raise RegistryConflict(
            f"the alias {alias} points at {_name(current)}, not at {_name(expected)} any more",
            where=_WHERE,
            fix="start a new run, which compares with the champion of now",
        )
    return replace(state, aliases={**state.aliases, alias: version})


def _with_entry(entry: HistoryEntry, state: RegistryState) -> RegistryState:
    return state if concluded(state.history, entry) else replace(state, history=(*state.history, entry))


def _without(keep: Collection[str], state: RegistryState) -> RegistryState:
    kept = {*keep, *state.aliases.values()}
    gone = [each.version for each in state.versions if not kept & {each.version, each.model}]
    return replace(state, dropped=tuple(dict.fromkeys([*state.dropped, *gone])))


def _resolve(state: RegistryState, alias: str) -> Champion:
    return _version(state, state.aliases[alias]) if alias in state.aliases else NoChampion()


def _version(state: RegistryState, name: str) -> ModelVersion:
    for version in state.versions:
        if version.version == name:
            return version
    raise LineageError(f"there is no version {name}", where=_WHERE, fix="name one that `python -m ml history` lists")


def _refuse_lost(state: RegistryState) -> None:
    refuse_lost_champion(state.history, _resolve(state, CHAMPION_ALIAS), _WHERE)


def _check_champion(state: RegistryState) -> None:
    refuse_unrecorded_move(state.history, _resolve(state, CHAMPION_ALIAS), _WHERE)


def _name(champion: Champion) -> str:
    return champion.version if isinstance(champion, ModelVersion) else "nothing"


def _damaged(what: str) -> RegistryDamaged:
    return RegistryDamaged(
        what, where=_WHERE, fix="bring back the objects' earlier versions; `python -m ml registry check` lists all"
    )


@contextmanager
def _answering() -> Iterator[None]:
    """Say of the registry what its object store said."""
    try:
        yield
    except StoreUnavailable as error:
        raise RegistryUnavailable(error.what, where=_WHERE, fix=error.fix) from None
    except StoreRefused as error:
        raise RegistryRefused(error.what, where=_WHERE, fix=error.fix) from None
