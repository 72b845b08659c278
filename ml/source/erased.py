"""Leave out of a table, and of rows in quarantine, those whose ids a person has had erased."""

import csv
import hashlib
import io
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.source.csv_table import Parsed
from ml.store.erasures import Erasures

_ID = "qid"

Erased = Callable[[Collection[str]], Collection[str]]


def leave_out_erased(parsed: Parsed, erasures: Erasures, sha256: str) -> tuple[Parsed, int, str]:
    """Return what remains, how many rows were left out, and what identifies the remaining rows.

    That is `sha256` of the file, or, if rows were left out, the sha256 of it and of their numbers.
    """
    keep = kept_rows(parsed.table, erasures.covered)
    quarantined = kept_lines(parsed.quarantined, erasures.covered)
    left_out = np.flatnonzero(~keep).tolist()
    rows = len(left_out) + len(parsed.quarantined) - len(quarantined)
    if not rows:
        return parsed, 0, sha256
    identity = hashlib.sha256(f"{sha256}\0erased\0{left_out}\0{len(quarantined)}".encode()).hexdigest()
    return replace(parsed, table=parsed.table.filter(pa.array(keep)), quarantined=quarantined), rows, identity


def kept_rows(table: pa.Table, erased: Erased) -> np.ndarray:
    """Say of each row whether it stays, boolean [rows]; without a column of ids all do."""
    if _ID not in table.column_names:
        return np.ones(table.num_rows, np.bool_)
    ids = table[_ID].cast(pa.string())
    gone = pa.array(sorted(erased(set(pc.unique(ids).drop_null().to_pylist()))), pa.string())
    return ~np.asarray(pc.fill_null(pc.is_in(ids, value_set=gone), False))


def kept_lines(rows: Sequence[str], erased: Erased) -> tuple[str, ...]:
    """Return the rows in quarantine of which no field is an erased id."""
    return tuple(row for row in rows if not erased(_fields(row)))


def _fields(row: str) -> set[str]:
    """Return the fields of a row that may lack a quote, and its parts between commas."""
    read = [field for fields in csv.reader(io.StringIO(row)) for field in fields]
    return {field.strip().strip('"') for field in [*read, *row.split(",")]}
