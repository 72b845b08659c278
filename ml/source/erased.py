"""Leave out of stored rows, and of rows in quarantine, those whose ids a person has had erased."""

import csv
import hashlib
import io
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ml.source.csv_table import Parsed
from ml.store.erasures import Erasures

_ID = "qid"
_BATCH_ROWS = 1 << 16
NOTHING: npt.NDArray[np.intp] = np.empty(0, np.intp)

Erased = Callable[[Collection[str]], Collection[str]]


def leave_out_erased(rows: Path, parsed: Parsed, erasures: Erasures, sha256: str) -> tuple[Parsed, int, str]:
    """Rewrite a file of rows without the erased ones; return what remains, how many went, and what identifies it.

    That is `sha256` of the file, or, if rows were left out, the sha256 of it and of their numbers.
    """
    if not erasures.requests:
        return parsed, 0, sha256
    numbers = erased_numbers(rows, erasures.covered)
    quarantined = kept_lines(parsed.quarantined, erasures.covered)
    left_out = len(numbers) + len(parsed.quarantined) - len(quarantined)
    if not left_out:
        return parsed, 0, sha256
    beside = rows.with_name("remaining")
    write_without(rows, numbers, beside)
    beside.replace(rows)
    identity = hashlib.sha256(f"{sha256}\0erased\0{numbers.tolist()}\0{len(quarantined)}".encode()).hexdigest()
    return replace(parsed, rows=parsed.rows - len(numbers), quarantined=quarantined), left_out, identity


def erased_numbers(rows: Path, erased: Erased) -> npt.NDArray[np.intp]:
    """Return the numbers of the erased rows in a Parquet file, ascending; none without a column of ids."""
    if _ID not in pq.read_schema(rows).names:
        return NOTHING
    parts = [_is_erased(batch.column(0).cast(pa.string()), erased) for batch in _batches(rows, [_ID])]
    return np.flatnonzero(np.concatenate([np.empty(0, np.bool_), *parts]))


def write_without(rows: Path, numbers: npt.NDArray[np.intp], *to: Path) -> None:
    """Write the other rows to files, as Parquet or, where the name ends in .csv, as CSV, some at a time."""
    schema, first = pq.read_schema(rows), 0
    with ExitStack() as opened:
        writers = [opened.enter_context(_writer(path, schema)) for path in to]
        for batch in _batches(rows):
            keep = ~np.isin(np.arange(first, first + len(batch)), numbers)
            for writer in writers:
                writer.write(batch.filter(pa.array(keep)))
            first += len(batch)


def kept_lines(rows: Sequence[str], erased: Erased) -> tuple[str, ...]:
    """Return the rows in quarantine of which no field is an erased id."""
    return tuple(row for row in rows if not erased(_fields(row)))


def _is_erased(ids: pa.Array, erased: Erased) -> npt.NDArray[np.bool_]:
    gone = pa.array(sorted(erased(set(pc.unique(ids).drop_null().to_pylist()))), pa.string())
    return np.asarray(pc.fill_null(pc.is_in(ids, value_set=gone), False))


def _batches(rows: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(rows) as file:
        yield from file.iter_batches(_BATCH_ROWS, columns=columns)


def _writer(path: Path, schema: pa.Schema) -> "pq.ParquetWriter | pyarrow.csv.CSVWriter":
    return pyarrow.csv.CSVWriter(path, schema) if path.suffix == ".csv" else pq.ParquetWriter(path, schema)


def _fields(row: str) -> set[str]:
    """Return the fields of a row that may lack a quote, and its parts between commas."""
    read = [field for fields in csv.reader(io.StringIO(row)) for field in fields]
    return {field.strip().strip('"') for field in [*read, *row.split(",")]}
