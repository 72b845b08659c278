"""A registry in a folder, for one machine or a shared file system with working locks.

versions/v1/artifact/…   the model's files        versions/v1/version.json   their digest, which stays without the files
aliases.json             alias -> version         decisions/<digest>.json    the grounds of an entry
history.jsonl            one entry in a line      lock                       held during every write
"""

import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ml.errors import LineageError, RegistryConflict, RegistryDamaged, RegistryUnavailable
from ml.records import Aliases, Champion, HistoryEntry, ModelVersion, NoChampion, from_json, to_json
from ml.registry import CANDIDATE_ALIAS, Grounds, refuse_other_files
from ml.store.files import rename_whole, tree_digest, write_whole
from ml.store.locks import locked

logger = logging.getLogger(__name__)

_VERSION = re.compile(r"v[1-9][0-9]*")

R = TypeVar("R")


class LocalRegistry:
    """Versions, aliases and history as files under `root`; the first write makes them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def resolve(self, alias: str) -> Champion:
        """Return the version that the alias points at, or NoChampion if the registry was read and does not have it."""
        with _answering():
            return self._resolve(alias)

    def register(self, artifact: Path, model: str) -> ModelVersion:
        """Store an artifact as a version and point `candidate` at it; raises LineageError for another digest."""
        refuse_other_files(artifact, model)
        with _answering(), self._locked():
            version = self._find(model) or self._add(artifact, model)
            if not self._artifact(version).is_dir():
                with self._staged(artifact) as staged:
                    rename_whole(staged / "artifact", self._artifact(version))
            self._write_aliases({**self._aliases(), CANDIDATE_ALIAS: version.version})
            return version

    def fetch(self, version: str) -> Path:
        """Return the version's files; raises LineageError if it has none, RegistryDamaged if they have changed."""
        with _answering():
            found = self._version(version)
            artifact = self._artifact(found)
            if not artifact.is_dir():
                raise LineageError(
                    f"the files of {version} are gone: retention dropped them",
                    where="the local registry",
                    fix="name a later version, or raise retention.predecessors before the next run",
                )
            if tree_digest(artifact) != found.model:
                raise _damaged(f"the files of {version} are not those that were registered", f"versions/{version}")
            return artifact

    def move_alias(self, alias: str, version: str, *, expected: Champion) -> None:
        """Move the alias from `expected` to a version; do nothing if it points there already."""
        with _answering(), self._locked():
            current = self._resolve(alias)
            if current == self._version(version):
                return
            if current != expected:
                raise RegistryConflict(
                    f"the alias {alias} points at {_name(current)}, not at {_name(expected)} any more",
                    where="the local registry",
                    fix="start a new run, which compares with the champion of now",
                )
            self._write_aliases({**self._aliases(), alias: version})

    def record(self, entry: HistoryEntry, grounds: Grounds) -> None:
        """Append an entry to the history and store its grounds; the same grounds in the same run are recorded once."""
        with _answering(), self._locked():
            if any((past.run_id, past.decision) == (entry.run_id, entry.decision) for past in self._history()):
                return
            write_whole(self.root / "decisions" / f"{entry.decision}.json", to_json(grounds))
            self._append(to_json(entry))

    def history(self) -> Sequence[HistoryEntry]:
        """Return all entries, oldest first, without a last line that a crash cut off."""
        with _answering():
            return self._history()

    def prune(self, keep: Collection[str]) -> Sequence[ModelVersion]:
        """Drop the files of all versions not in `keep` and without an alias; return all versions without files."""
        with _answering(), self._locked():
            kept = {*keep, *self._aliases().values()}
            versions = [self._version(name) for name in sorted(self._names(), key=_number)]
            for version in versions:
                if version.version not in kept and self._artifact(version).is_dir():
                    self._drop(version)
            return [version for version in versions if not self._artifact(version).is_dir()]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(self.root / "lock", waiting="waiting for another process that writes to the registry"):
            self._empty_staging()
            # aliases.json is written before anything else: if it is missing beside other files, it was lost.
            self._write_aliases(self._aliases())
            yield

    def _resolve(self, alias: str) -> Champion:
        aliases = self._aliases()
        return self._version(aliases[alias]) if alias in aliases else NoChampion()

    def _aliases(self) -> dict[str, str]:
        try:
            text = (self.root / "aliases.json").read_bytes()
        except FileNotFoundError:
            self._prove_empty()
            return {}
        return _read(text, Aliases, "aliases.json").versions

    def _prove_empty(self) -> None:
        try:
            names = {path.name for path in self.root.iterdir()}
        except FileNotFoundError:
            return
        if {"versions", "history.jsonl"} & names:
            raise _damaged("there are versions or a history, but no aliases.json", "aliases.json")

    def _write_aliases(self, aliases: dict[str, str]) -> None:
        write_whole(self.root / "aliases.json", to_json(Aliases(versions=aliases)) + "\n")

    def _place(self, version: str) -> Path:
        if not _VERSION.fullmatch(version):
            raise _unknown(version)
        return self.root / "versions" / version

    def _artifact(self, version: ModelVersion) -> Path:
        return self._place(version.version) / "artifact"

    def _version(self, version: str) -> ModelVersion:
        try:
            text = (self._place(version) / "version.json").read_bytes()
        except FileNotFoundError:
            raise _unknown(version) from None
        return _read(text, ModelVersion, f"versions/{version}/version.json")

    def _find(self, model: str) -> ModelVersion | None:
        versions = (self._version(name) for name in self._names())
        return next((version for version in versions if version.model == model), None)

    def _add(self, artifact: Path, model: str) -> ModelVersion:
        numbers = [_number(name) for name in self._names()]
        version = ModelVersion(version=f"v{max(numbers, default=0) + 1}", model=model)
        with self._staged(artifact) as staged:
            (staged / "version.json").write_text(to_json(version), encoding="utf-8")
            rename_whole(staged, self._place(version.version))
        return version

    @contextmanager
    def _staged(self, artifact: Path) -> Iterator[Path]:
        staged = self.root / "staging"
        shutil.copytree(artifact, staged / "artifact", copy_function=_link_or_copy)
        yield staged
        self._empty_staging()

    def _drop(self, version: ModelVersion) -> None:
        staged = self.root / "staging"
        staged.mkdir()
        self._artifact(version).rename(staged / "artifact")
        self._empty_staging()
        logger.info("retention dropped the files of %s, model %s", version.version, version.model[:12])

    def _empty_staging(self) -> None:
        shutil.rmtree(self.root / "staging", ignore_errors=True)  # a crash may have left it; we hold the lock

    def _names(self) -> list[str]:
        return [path.name for path in (self.root / "versions").glob("v*") if _VERSION.fullmatch(path.name)]

    def _history(self) -> list[HistoryEntry]:
        *lines, torn = self._history_bytes().split(b"\n")
        if torn:
            logger.warning("the last line of the registry's history was cut off by a crash; it is left out")
        return [_read(line, HistoryEntry, f"history.jsonl, line {index}") for index, line in enumerate(lines, start=1)]

    def _history_bytes(self) -> bytes:
        try:
            return (self.root / "history.jsonl").read_bytes()
        except FileNotFoundError:
            return b""

    def _append(self, line: str) -> None:
        whole_bytes = self._history_bytes().rfind(b"\n") + 1
        with (self.root / "history.jsonl").open("ab") as file:
            file.truncate(whole_bytes)
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RegistryUnavailable(
            f"the registry's folder did not answer: {error.strerror}",
            where="the local registry",
            fix="check that SINCERE_REGISTRY names a folder that can be read and written, then try again",
        ) from None


def _read(text: bytes, kind: type[R], where: str) -> R:
    try:
        return from_json(text.decode(), kind)
    except LineageError as error:
        raise _damaged(error.what, where) from None
    except UnicodeDecodeError:
        raise _damaged("the file is not UTF-8", where) from None


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _number(name: str) -> int:
    return int(name[1:])


def _name(champion: Champion) -> str:
    return champion.version if isinstance(champion, ModelVersion) else "nothing"


def _unknown(version: str) -> LineageError:
    return LineageError(
        f"there is no version {version}",
        where="the local registry",
        fix="name one that `python -m ml history` lists",
    )


def _damaged(what: str, where: str) -> RegistryDamaged:
    return RegistryDamaged(what, where=f"the local registry, {where}", fix="restore the file from a backup")
