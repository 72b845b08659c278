"""Which rows a person has had erased: by salted hashes of their ids, so that nobody reads the ids from it.

erasures/<digest>/erasure.json    one request
<kind>/<digest>/erased.json       how many rows a stored folder has lost, and when
"""

import hashlib
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from ml.records import ErasedRows, Erasure, NothingErased, digest, from_json, to_json
from ml.store import Kind, Store

_RECORD, _MARK = "erasure.json", "erased.json"
_SALT_BYTES, _HASH_BYTES = 32, 16


@dataclass(frozen=True)
class Erasures:
    """All requests so far, oldest first."""

    requests: Sequence[Erasure]

    def covered(self, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that are erased."""
        return {each for each in ids if any(_hash(each, salt) in hashes for salt, hashes in self._by_salt.items())}

    @cached_property
    def _by_salt(self) -> dict[str, set[str]]:
        hashes: dict[str, set[str]] = {}
        for request in self.requests:
            hashes.setdefault(request.salt, set()).update(request.ids)
        return hashes


def read_erasures(store: Store) -> Erasures:
    """Read all requests; raises LineageError for one that is damaged."""
    folders = [store.open("erasures", name) for name in store.names("erasures")]
    return Erasures([from_json((folder / _RECORD).read_text(encoding="utf-8"), Erasure) for folder in folders])


def keep_erasure(store: Store, ids: Collection[str]) -> Sequence[str]:
    """Record a request with those ids that no request has yet; return its digest, nothing where all are recorded."""
    known = read_erasures(store)
    new = sorted(set(ids) - known.covered(ids))
    if not new:
        return []
    salt = known.requests[0].salt if known.requests else secrets.token_hex(_SALT_BYTES)
    hashes = tuple(sorted(_hash(each, salt) for each in new))
    erasure = Erasure(time=datetime.now(UTC).isoformat(timespec="seconds"), salt=salt, ids=hashes)
    with store.staging() as folder:
        (folder / _RECORD).write_text(to_json(erasure), encoding="utf-8")
        store.commit(folder, "erasures", digest(erasure))
    return [digest(erasure)]


def erased_rows(store: Store, kind: Kind, name: str) -> ErasedRows | NothingErased:
    """Return how many rows a stored folder has lost."""
    return _read_mark(store.open(kind, name))


def mark_erased(before: Path, after: Path, rows: int) -> None:
    """Say in the folder `after`, which is to replace `before`, that so many more rows were erased, now."""
    mark, now = _read_mark(before), datetime.now(UTC).isoformat(timespec="seconds")
    past = mark if isinstance(mark, ErasedRows) else ErasedRows(rows=0, times=())
    marked = ErasedRows(rows=past.rows + rows, times=(*past.times, now))
    (after / _MARK).write_text(to_json(marked), encoding="utf-8")


def _read_mark(folder: Path) -> ErasedRows | NothingErased:
    path = folder / _MARK
    return from_json(path.read_text(encoding="utf-8"), ErasedRows) if path.is_file() else NothingErased()


def _hash(text: str, salt: str) -> str:
    return hashlib.blake2b(text.encode(), key=bytes.fromhex(salt), digest_size=_HASH_BYTES).hexdigest()
