"""A registry in a folder, for one machine or a shared file system with working locks.

versions/v1/artifact/…   the model's files        versions/v1/version.json   their digest, which stays without the files
aliases.json             alias -> version         decisions/<digest>.json    the grounds of an entry
history.jsonl            one entry a line         lock                       held while anything is written
champion.lock            see Registry.turn

How aliases.json and history.jsonl vouch for each other: see local_memory.py.
"""

import logging
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

from ml.errors import (
    LineageError,
    RegistryConflict,
    RegistryDamaged,
    RegistryRefused,
    RegistryUnavailable,
    passes_by_itself,
)
from ml.records import Champion, HistoryEntry, ModelVersion, NoChampion, RegistryState, from_json, to_json
from ml.registry import CANDIDATE_ALIAS, CHAMPION_ALIAS, Grounds, damage, refuse_other_files
from ml.registry.history import concluded, refuse_lost_champion, refuse_unrecorded_move
from ml.registry.local_memory import Memory, Remembered
from ml.store.files import file_digest, rename_whole, tree_digest, write_whole
from ml.store.locks import locked

logger = logging.getLogger(__name__)

_VERSION = re.compile(r"v[1-9][0-9]*")
_WHERE = "the local registry"


class LocalRegistry:
    """Versions, aliases and history as files under `root`; the first write makes them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._memory = Memory(root)

    def resolve(self, alias: str) -> Champion:
        """Return the version that the alias points at, or NoChampion if aliases and history agree on that."""
        with _answering():
            remembered = self._memory.read()
            if alias == CHAMPION_ALIAS:
                self._refuse_lost(remembered)
            return self._resolve(remembered, alias)

    def find(self, version: str) -> ModelVersion:
        """Return the version with its digest, though its files may be gone."""
        with _answering():
            return self._version(version)

    def register(self, artifact: Path, model: str) -> ModelVersion:
        """Store an artifact as a version and point `candidate` at it; raises LineageError for another digest."""
        refuse_other_files(artifact, model)
        with _answering(), self._locked() as remembered:
            self._refuse_lost(remembered)
            version = self._find(model) or self._add(artifact, model)
            if not self._artifact(version).is_dir():
                with self._staged(artifact) as staged:
                    rename_whole(staged / "artifact", self._artifact(version))
            self._memory.point(remembered, CANDIDATE_ALIAS, version.version)
            return version

    def fetch(self, version: str) -> Path:
        """Return the version's files; raises LineageError if it has none, RegistryDamaged if they have changed."""
        with _answering():
            found = self._version(version)
            artifact = self._artifact(found)
            if not artifact.is_dir():
                raise LineageError(
                    f"the files of {version} are gone: retention dropped them",
                    where=_WHERE,
                    fix="name a later version, or raise retention.predecessors before the next run",
                )
            self._prove(found)
            return artifact

    def move_alias(self, alias: str, version: str, *, expected: Champion) -> None:
        """Move the alias from `expected` to a version; do nothing if it points there already."""
        with _answering(), self._locked() as remembered:
            self._refuse_lost(remembered)
            current = self._resolve(remembered, alias)
            if current == self._version(version):
                return
            if current != expected:
                raise RegistryConflict(
                    f"the alias {alias} points at {_name(current)}, not at {_name(expected)} any more",
                    where=_WHERE,
                    fix="start a new run, which compares with the champion of now",
                )
            self._memory.point(remembered, alias, version)

    def record(self, entry: HistoryEntry, grounds: Grounds) -> None:
        """Append an entry to the history and store its grounds, unless the run has concluded before."""
        with _answering(), self._locked() as remembered:
            if concluded(remembered.history, entry):
                return
            write_whole(self._grounds(entry), to_json(grounds))
            self._memory.append(remembered, entry)

    def history(self) -> Sequence[HistoryEntry]:
        """Return all entries, oldest first, without a last line that a crash cut off."""
        with _answering():
            return self._memory.read().history

    def prune(self, keep: Collection[str]) -> Sequence[ModelVersion]:
        """Drop the files of all versions not in `keep` and without an alias; return all versions without files."""
        with _answering(), self._locked() as remembered:
            self._refuse_lost(remembered)
            kept = {*keep, *remembered.aliases.values()}
            versions = [self._version(name) for name in self._names()]
            for version in versions:
                if not kept & {version.version, version.model} and self._artifact(version).is_dir():
                    self._drop(version)
            return [version for version in versions if not self._artifact(version).is_dir()]

    def state(self) -> RegistryState:
        """Return all that the registry remembers; raises RegistryDamaged if it is not whole."""
        with _answering():
            remembered = self._memory.read()
            self._refuse_lost(remembered)
            versions = tuple(self._version(name) for name in self._names())
            dropped = tuple(each.version for each in versions if not self._artifact(each).is_dir())
            return RegistryState(
                aliases=dict(remembered.aliases), versions=versions, dropped=dropped, history=tuple(remembered.history)
            )

    def grounds(self) -> Sequence[Path]:
        """Return the grounds of all entries, a file each, named by its digest."""
        return sorted((self.root / "decisions").glob("*.json"))

    def kept_in_store(self) -> Collection[str]:
        """None: the registry has files of its own."""
        return ()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the lock of those who decide on the champion, and finish a write that a crash interrupted."""
        with ExitStack() as held:
            with _answering():
                waiting = "waiting for another process that decides who is champion"
                held.enter_context(locked(self.root / "champion.lock", waiting=waiting))
                with self._locked():
                    pass
            yield

    def check(self) -> Sequence[str]:
        """Return what is wrong with aliases and history, with the grounds of each entry and with each version."""
        with _answering():
            versions = damage(partial(self._check_version, name) for name in self._names())
            try:
                remembered = self._memory.read()
            except RegistryDamaged as error:
                return [str(error), *versions]
            grounds = damage(partial(self._check_grounds, entry) for entry in remembered.history)
            return [*damage([partial(self._check_champion, remembered)]), *grounds, *versions]

    def _check_champion(self, remembered: Remembered) -> None:
        self._refuse_lost(remembered)
        for alias in remembered.aliases:
            self._resolve(remembered, alias)
        refuse_unrecorded_move(remembered.history, self._resolve(remembered, CHAMPION_ALIAS), _WHERE)

    def _check_grounds(self, entry: HistoryEntry) -> None:
        grounds = self._grounds(entry)
        if not grounds.is_file() or file_digest(grounds) != entry.decision:
            raise _damaged(f"the grounds of run {entry.run_id} are lost or changed", f"decisions/{grounds.name}")

    def _check_version(self, name: str) -> None:
        version = self._version(name)
        if self._artifact(version).is_dir():
            self._prove(version)

    @contextmanager
    def _locked(self) -> Iterator[Remembered]:
        """Hold the registry's lock, and yield what aliases and history say.

        aliases.json is written before anything else: if it is missing beside other files, it was lost.
        """
        with locked(self.root / "lock", waiting="waiting for another process that writes to the registry"):
            remembered = self._memory.settle()
            self._empty_staging()
            yield remembered

    def _resolve(self, remembered: Remembered, alias: str) -> Champion:
        if alias not in remembered.aliases:
            return NoChampion()
        version = remembered.aliases[alias]
        if version not in self._names():
            raise _damaged(f"{alias} points at {version}, which is lost", f"versions/{version}")
        return self._version(version)

    def _refuse_lost(self, remembered: Remembered) -> None:
        """Raise RegistryDamaged if the champion or a version of the history is missing."""
        refuse_lost_champion(remembered.history, self._resolve(remembered, CHAMPION_ALIAS), _WHERE)
        lost = {entry.version for entry in remembered.history} - set(self._names())
        if lost:
            name = min(lost)
            raise _damaged(f"{name}, which the history names, is lost", f"versions/{name}")

    def _grounds(self, entry: HistoryEntry) -> Path:
        return self.root / "decisions" / f"{entry.decision}.json"

    def _place(self, version: str) -> Path:
        if not _VERSION.fullmatch(version):
            raise _unknown(version)
        return self.root / "versions" / version

    def _artifact(self, version: ModelVersion) -> Path:
        return self._place(version.version) / "artifact"

    def _version(self, version: str) -> ModelVersion:
        where = f"versions/{version}/version.json"
        if not self._place(version).is_dir():
            raise _unknown(version)
        try:
            found = from_json((self._place(version) / "version.json").read_text(encoding="utf-8"), ModelVersion)
        except LineageError as error:
            raise _damaged(error.what, where) from None
        except (FileNotFoundError, UnicodeDecodeError):
            raise _damaged("the file is lost, or not UTF-8", where) from None
        if found.version != version:
            raise _damaged(f"it names {found.version}", where)
        return found

    def _prove(self, version: ModelVersion) -> None:
        if tree_digest(self._artifact(version)) != version.model:
            what = f"the files of {version.version} are not those that were registered"
            raise _damaged(what, f"versions/{version.version}")

    def _find(self, model: str) -> ModelVersion | None:
        versions = (self._version(name) for name in self._names())
        return next((version for version in versions if version.model == model), None)

    def _add(self, artifact: Path, model: str) -> ModelVersion:
        last = max(map(_number, self._names()), default=0)
        version = ModelVersion(version=f"v{last + 1}", model=model)
        with self._staged(artifact) as staged:
            (staged / "version.json").write_text(to_json(version), encoding="utf-8")
            rename_whole(staged, self._place(version.version))
        return version

    @contextmanager
    def _staged(self, artifact: Path) -> Iterator[Path]:
        staged = self._new_staging()
        _link_or_copy(artifact, staged / "artifact")
        yield staged
        self._empty_staging()

    def _drop(self, version: ModelVersion) -> None:
        self._artifact(version).rename(self._new_staging() / "artifact")
        self._empty_staging()
        logger.info("retention dropped the files of %s, model %s", version.version, version.model[:12])

    def _new_staging(self) -> Path:
        """Make a folder of a new name: on NFS, an old one cannot be removed while a host holds a file in it open."""
        folder = self.root / "staging" / uuid4().hex
        folder.mkdir(parents=True)
        return folder

    def _empty_staging(self) -> None:
        shutil.rmtree(self.root / "staging", ignore_errors=True)  # a crash may have left it; we hold the lock

    def _names(self) -> Sequence[str]:
        """Return the names of all versions, oldest first; other files are no versions."""
        found = (self.root / "versions").glob("v*")
        return sorted((path.name for path in found if _VERSION.fullmatch(path.name) and path.is_dir()), key=_number)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _not_answered(error) from None


def _not_answered(error: OSError) -> RegistryUnavailable | RegistryRefused:
    kind = RegistryUnavailable if passes_by_itself(error) else RegistryRefused
    return kind(
        f"the registry's folder did not answer: {error.strerror or type(error).__name__}",
        where=_WHERE,
        fix="see that SINCERE_REGISTRY names a folder that can be read and written, then try again",
    )


def _link_or_copy(source: Path, target: Path) -> None:
    """Give a folder's files a second place, without a copy where the file system can do that."""
    target.mkdir()
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir()
            continue
        try:
            place.hardlink_to(path)
        except OSError:
            shutil.copy2(path, place)


def _number(name: str) -> int:
    return int(name[1:])


def _name(champion: Champion) -> str:
    return champion.version if isinstance(champion, ModelVersion) else "nothing"


def _unknown(version: str) -> LineageError:
    return LineageError(
        f"there is no version {version}",
        where=_WHERE,
        fix="name one that `python -m ml history` lists",
    )


def _damaged(what: str, where: str) -> RegistryDamaged:
    return RegistryDamaged(
        what,
        where=f"{_WHERE}, {where}",
        fix="put it back from a backup; `python -m ml registry check` lists all that is wrong",
    )
