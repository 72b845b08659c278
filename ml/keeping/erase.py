"""Command `erase`: remove rows by their ids, or all rows with their texts, from everything that this home keeps.

First the request is recorded, so that no later snapshot brings the rows back. Pages come before scores, and scores
before rows: what is left of a process that died still has the texts to look for, and the same command goes on.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ml.data.normalise import normalise_all
from ml.errors import DataError
from ml.keeping.needed import unfinished
from ml.keeping.pages import erase_from_pages, erase_from_scored
from ml.run import Run
from ml.source.erased import erased_numbers, kept_lines, write_without
from ml.store import Kind, Store
from ml.store.erasures import keep_erasure, mark_erased, read_erasures

_ROWS, _CSV, _QUARANTINE, _SCORES = "rows.parquet", "rows.csv", "quarantine.csv", "scores.npz"
_HAVE_ROWS: tuple[Kind, ...] = ("splits", "snapshots")
_HAVE_SCORES: tuple[Kind, ...] = ("comparisons",)
_COLUMNS = ("qid", "question_text")

_Gone = Callable[[Collection[str]], Collection[str]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What was erased: rows or mentions by place.

    `unknown` are the lines of the ids that no row has, `same_text` the number of other ids that bear the same texts,
    `unfinished` the runs that may bring rows back, since they have not ended.
    """

    places: Counter[str]
    ids: int
    unknown: Sequence[int]
    same_text: int
    with_same_text: bool
    unfinished: Sequence[str]
    recorded: Sequence[str]


def erase(run: Run, ids: Sequence[str], *, same_text: bool) -> Erased:
    """Erase the rows with these ids; with `same_text` those too whose normalised text is the same."""
    store, asked = run.store, {each for each in ids if each}
    with store.lock("keeping", waiting="waiting for another process that cleans up"):
        run.mirror.tidy()
        run.mirror.fetch_all(records_alone=False)
        for kind in (*_HAVE_ROWS, *_HAVE_SCORES):
            store.finish_replacing(kind)
        before = read_erasures(store).covered(asked)
        found = _texts_of(store, asked)
        others = _ids_with_texts(store, found) - asked
        wanted = asked | (others if same_text else set())
        recorded = keep_erasure(store, wanted)
        texts = {text for some in _texts_of(store, wanted).values() for text in some}
        places: Counter[str] = Counter()
        places["pages"] = erase_from_pages(run.reports, wanted, texts)
        places["scored files"] = erase_from_scored(run.reports.parent / "scored", wanted, texts)
        _drop_all(store, "unsent")
        _drop_all(store, "scores")
        gone = partial(_common, wanted)
        for kind in _HAVE_SCORES:
            places[kind] = _replace_each(store, kind, lambda old, new: _scores_without(old, new, gone))
        for kind in _HAVE_ROWS:
            places[kind] = _replace_each(store, kind, lambda old, new: _rows_without(old, new, gone))
    return Erased(
        places=places,
        ids=len(wanted),
        unknown=[number for number, each in enumerate(ids, 1) if each in asked - before - found.keys()],
        same_text=len(others),
        with_same_text=same_text,
        unfinished=[folder.name for folder in unfinished(run)],
        recorded=recorded,
    )


def read_ids(path: Path) -> Sequence[str]:
    """Read the ids, one a line, and nothing for an empty line; raises DataError for a file that has none."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise DataError("the file is not UTF-8", where="--ids", fix="write one id a line") from None
    if not any(lines):
        raise DataError("the file has no ids", where="--ids", fix="write one id a line")
    return lines


def _texts_of(store: Store, ids: Collection[str]) -> dict[str, set[str]]:
    """Return the texts of these ids, wherever rows are kept; in quarantine an id has no text."""
    texts: dict[str, set[str]] = {}
    for batch in _batches(store):
        some = batch.filter(pc.is_in(batch["qid"], value_set=pa.array(sorted(ids), pa.string())))
        for qid, text in zip(some["qid"].to_pylist(), some["question_text"].to_pylist(), strict=True):
            texts.setdefault(qid, set()).update([text] if text else [])
    for row in _quarantined(store):
        texts.update({each: texts.get(each, set()) for each in ids if not kept_lines([row], partial(_common, {each}))})
    return texts


def _ids_with_texts(store: Store, found: dict[str, set[str]]) -> set[str]:
    wanted = {text for some in found.values() for text in some}
    normalised = set(normalise_all(pa.array(sorted(wanted), pa.string())))
    ids: set[str] = set()
    for batch in _batches(store) if normalised else ():
        rows = batch.filter(pc.is_valid(batch["question_text"]))
        same = [text in normalised for text in normalise_all(rows["question_text"])]
        ids.update(rows["qid"].filter(pa.array(same, pa.bool_())).drop_null().to_pylist())
    return ids


def _batches(store: Store) -> Iterator[pa.RecordBatch]:
    """Yield ids and texts of all kept rows, some at a time, as texts."""
    schema = pa.schema([(name, pa.string()) for name in _COLUMNS])
    for place in (store.open(kind, name) for kind in _HAVE_ROWS for name in store.names(kind)):
        with pq.ParquetFile(place / _ROWS) as file:
            if set(_COLUMNS) <= set(file.schema_arrow.names):
                for batch in file.iter_batches(columns=list(_COLUMNS)):
                    yield batch.select(list(_COLUMNS)).cast(schema)


def _quarantined(store: Store) -> Iterator[str]:
    for name in store.names("snapshots"):
        path = store.open("snapshots", name) / _QUARANTINE
        yield from path.read_text(encoding="utf-8").splitlines() if path.is_file() else ()


def _drop_all(store: Store, kind: Kind) -> None:
    """Drop what is only kept to spare a retry its work: it is made anew."""
    for name in store.names(kind):
        store.drop(kind, name)


def _replace_each(store: Store, kind: Kind, write_without: Callable[[Path, Path], int]) -> int:
    """Replace each folder of a kind that has such rows by one without; return how many rows went."""
    erased = 0
    for name in store.names(kind):
        with store.rewriting(kind, name) as (old, new):
            rows = write_without(old, new)
            if rows:
                mark_erased(old, new, rows)
        erased += rows
    return erased


def _rows_without(old: Path, new: Path, gone: _Gone) -> int:
    """Write the files of a snapshot or a part without the rows; return how many went, and write nothing for none."""
    numbers = erased_numbers(old / _ROWS, gone)
    lines = (old / _QUARANTINE).read_text(encoding="utf-8").splitlines() if (old / _QUARANTINE).is_file() else []
    kept = kept_lines(lines, gone)
    rows = len(numbers) + len(lines) - len(kept)
    if not rows:
        return 0
    _copy_others(old, new, _ROWS, _CSV, _QUARANTINE)
    write_without(old / _ROWS, numbers, new / _ROWS, *(new / name for name in [_CSV] if (old / name).is_file()))
    if kept:
        (new / _QUARANTINE).write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    return rows


def _scores_without(old: Path, new: Path, gone: _Gone) -> int:
    """Write a comparison without the scores of the rows; return how many went, and write nothing for none."""
    if not (old / _SCORES).is_file():
        return 0
    with np.load(old / _SCORES, allow_pickle=False) as arrays:
        keep = ~np.isin(arrays["qid"], sorted(gone(set(arrays["qid"].tolist()))))
        if keep.all():
            return 0
        kept = {name: arrays[name][keep] for name in arrays}
    _copy_others(old, new, _SCORES)
    np.savez_compressed(new / _SCORES, **kept)
    return int(np.sum(~keep))


def _common(some: set[str], others: Collection[str]) -> set[str]:
    return some.intersection(others)


def _copy_others(old: Path, new: Path, *without: str) -> None:
    for path in old.iterdir():
        if path.name not in without:
            (new / path.name).write_bytes(path.read_bytes())
