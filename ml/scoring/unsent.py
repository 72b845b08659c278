"""Scored rows that a bucket did not take: they are kept for a retry, which sends them and scores nothing again."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ml.fingerprint import code_version, library_versions
from ml.records import ModelVersion, Profile, from_json, to_json
from ml.store import Store

_DAYS = 7
_ROWS, _PROFILE = "scored", "profile.json"


class ScoredRows(NamedTuple):
    """A file of scored rows, with their profile; the key names what decides them."""

    key: str
    file: Path
    profile: Profile


def unsent_key(questions: str, champion: ModelVersion, form: str) -> str:
    """Return the sha256, in hex, of what decides scored rows: the questions' digest, champion, format and code."""
    parts = (questions, champion.model, form, code_version(), library_versions())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def keep_unsent(store: Store, rows: ScoredRows) -> None:
    """Keep scored rows for some days."""
    with store.staging() as folder:
        shutil.copyfile(rows.file, folder / _ROWS)
        (folder / _PROFILE).write_text(to_json(rows.profile), encoding="utf-8")
        store.commit(folder, "unsent", rows.key)


def unsent(store: Store, key: str) -> Iterator[ScoredRows]:
    """Yield the rows that were kept, if there are any; what is older than a week is removed."""
    store.drop_old("unsent", days=_DAYS)
    if store.contains("unsent", key):
        folder = store.open("unsent", key)
        yield ScoredRows(key, folder / _ROWS, from_json((folder / _PROFILE).read_text(encoding="utf-8"), Profile))
