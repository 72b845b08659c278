"""What a registry in a folder remembers: aliases.json and history.jsonl, each of which vouches for the other.

aliases.json says how many lines the history has and what their sha256 is, and bears a seal of its own. An entry is
added in three writes: aliases.json announces the line, history.jsonl gets it, aliases.json counts it. So a crash
anywhere is told from damage: the history may lack the announced line, have a torn part of it, or have it whole.
Anything else was lost, cut, edited, or comes from another backup than the other file.
"""

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

from ml.errors import LineageError, RegistryDamaged
from ml.records import Aliases, HistoryEntry, LineUnderway, NoLineUnderway, digest, from_json, to_json
from ml.store.files import sync, write_whole

logger = logging.getLogger(__name__)

ALIASES, HISTORY = "aliases.json", "history.jsonl"

_UNSEALED = "unsealed"

R = TypeVar("R")


class Remembered(NamedTuple):
    """Versions by alias, the entries, oldest first, and their lines as they stand in the file."""

    aliases: Mapping[str, str]
    history: Sequence[HistoryEntry]
    lines: bytes


class _NoFile(NamedTuple):
    """The file is not there."""


_NOTHING = Remembered({}, (), b"")


class Memory:
    """The two files in a registry's folder; who writes holds the registry's lock."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self) -> Remembered:
        """Return what both files say between two writes; raises RegistryDamaged if they contradict each other."""
        while True:
            aliases, history = self._read(ALIASES), self._read(HISTORY)
            absent = isinstance(aliases, _NoFile) and self._is_new()
            if self._read(ALIASES) == aliases:
                break
        if absent:
            return _NOTHING
        if isinstance(aliases, _NoFile):
            _refuse("there are versions or a history, but no aliases.json", ALIASES)
        return _agreed(_unsealed(aliases), b"" if isinstance(history, _NoFile) else history)

    def settle(self) -> Remembered:
        """Read both files, and finish a write that a crash interrupted."""
        remembered = self.read()
        self._write(remembered, NoLineUnderway())
        return remembered

    def point(self, remembered: Remembered, alias: str, version: str) -> None:
        """Point an alias at a version."""
        self._write(remembered._replace(aliases={**remembered.aliases, alias: version}), NoLineUnderway())

    def append(self, remembered: Remembered, entry: HistoryEntry) -> None:
        """Add an entry to the history."""
        line = to_json(entry).encode() + b"\n"
        self._write(remembered, LineUnderway(line=_sha256(line)))
        self._append(len(remembered.lines), line)
        self._write(
            Remembered(remembered.aliases, [*remembered.history, entry], remembered.lines + line), NoLineUnderway()
        )

    def _read(self, name: str) -> bytes | _NoFile:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return _NoFile()

    def _is_new(self) -> bool:
        """Say whether nothing is there that is written after aliases.json."""
        names = {path.name for path in self._root.iterdir()} if self._root.exists() else set()
        return not {"versions", "decisions", HISTORY} & names

    def _write(self, remembered: Remembered, underway: LineUnderway | NoLineUnderway) -> None:
        aliases = Aliases(
            versions=dict(remembered.aliases),
            entries=len(remembered.history),
            history=_sha256(remembered.lines),
            underway=underway,
            seal=_UNSEALED,
        )
        text = to_json(replace(aliases, seal=digest(aliases))) + "\n"
        if self._read(ALIASES) != text.encode():
            write_whole(self._root / ALIASES, text)

    def _append(self, place: int, line: bytes) -> None:
        with (self._root / HISTORY).open("ab") as file:
            file.truncate(place)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        sync(self._root)


def _unsealed(text: bytes) -> Aliases:
    aliases = _parse(text, Aliases, ALIASES)
    if digest(replace(aliases, seal=_UNSEALED)) != aliases.seal:
        _refuse("it was edited, or is damaged", ALIASES)
    return aliases


def _agreed(aliases: Aliases, history: bytes) -> Remembered:
    *lines, torn = history.split(b"\n")
    entries = [_parse(line, HistoryEntry, f"{HISTORY}, line {number}") for number, line in enumerate(lines, start=1)]
    counted = _joined(lines[: aliases.entries])
    if len(lines) < aliases.entries:
        _refuse(f"{len(lines)} of {aliases.entries} entries are there", HISTORY)
    if _sha256(counted) != aliases.history:
        _refuse("its entries are not those that aliases.json counted", HISTORY)
    added = lines[aliases.entries :]
    if added and aliases.underway != LineUnderway(line=_sha256(_joined(added))):
        _refuse(f"it has {len(lines)} entries, aliases.json counted {aliases.entries}", HISTORY)
    if torn:
        logger.warning("the last line of the registry's history was cut off by a crash; it is left out")
    return Remembered(aliases.versions, entries, _joined(lines))


def _joined(lines: Sequence[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _parse(text: bytes, kind: type[R], where: str) -> R:
    try:
        return from_json(text.decode(), kind)
    except LineageError as error:
        _refuse(error.what, where)
    except UnicodeDecodeError:
        _refuse("the file is not UTF-8", where)


def _refuse(what: str, where: str) -> NoReturn:
    raise RegistryDamaged(
        what,
        where=f"the local registry, {where}",
        fix=f"see `python -m ml registry check`, then put {ALIASES} and {HISTORY} back, both from the same backup",
    )
