"""Read and store the rows of a split's parts, each part under the digest of its content."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ml.errors import LineageError
from ml.records import Split, SplitName
from ml.store import Store

ROWS_SCHEMA = pa.schema([("qid", pa.string()), ("question_text", pa.string()), ("target", pa.int8())])
COLUMNS = tuple(ROWS_SCHEMA.names)
BATCH_ROWS = 1 << 16
_NO_PART = -1

# Gives for these columns, and for some rows at a time, the rows of each part.
_Divided = Callable[[Sequence[str]], Iterable[Sequence[pa.RecordBatch]]]


def read_part(store: Store, part: Split) -> pd.DataFrame:
    """Read the rows of a part (qid, question_text, target); raises LineageError if their counts are not as recorded."""
    rows = pd.read_parquet(_path(store, part))
    _check_counts(part, len(rows), int(rows["target"].sum()))
    return rows


def read_part_in_batches(
    store: Store, part: Split, batch_rows: int
) -> Iterator[tuple[list[str], npt.NDArray[np.int8]]]:
    """Read texts and targets of a part, some rows at a time; raises LineageError after them as `read_part` does."""
    rows = positives = 0
    for batch in read_batches(_path(store, part), ["question_text", "target"], batch_rows=batch_rows):
        targets = batch["target"].to_numpy()
        rows, positives = rows + len(targets), positives + int(targets.sum())
        yield batch["question_text"].to_pylist(), targets
    _check_counts(part, rows, positives)


def _path(store: Store, part: Split) -> Path:
    return store.open("splits", part.digest) / "rows.parquet"


def _check_counts(part: Split, rows: int, positives: int) -> None:
    if (rows, positives) != (part.rows, part.positives):
        raise LineageError(
            f"the {part.name} rows that are stored are not those of the record",
            where=f"store/splits/{part.digest[:12]}",
            fix="run split again",
        )


def read_groups(path: Path) -> Iterator[pa.Table]:
    """Read all columns of a Parquet file in their stored types, one group of rows after the other; one has no rows."""
    with pa.parquet.ParquetFile(path) as file:
        yield file.schema_arrow.empty_table()
        for number in range(file.num_row_groups):
            yield file.read_row_group(number)


def read_batches(
    path: Path, columns: Sequence[str] = COLUMNS, *, batch_rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Read columns of a Parquet file of rows, some rows at a time, in the types of ROWS_SCHEMA."""
    schema = pa.schema([ROWS_SCHEMA.field(column) for column in columns])
    with pa.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_rows, columns=list(columns)):
            yield batch.select(list(columns)).cast(schema)


def store_part(store: Store, name: SplitName, rows: pa.Table) -> Split:
    """Store the rows of a part under the digest of their content."""
    batches = rows.select(COLUMNS).cast(ROWS_SCHEMA).to_batches(BATCH_ROWS)
    (part,) = _store(store, (name,), lambda columns: ([batch.select(columns)] for batch in batches))
    return part


def store_parts(store: Store, path: Path, parts: Mapping[SplitName, npt.NDArray[np.intp]]) -> tuple[Split, ...]:
    """Divide the rows of a Parquet file into parts, and store each under the digest of its content.

    `parts` has the row numbers of each part, ascending.
    """
    part_of = np.full(pa.parquet.read_metadata(path).num_rows, _NO_PART, np.int8)
    for number, rows in enumerate(parts.values()):
        part_of[rows] = number

    def divided(columns: Sequence[str]) -> Iterator[list[pa.RecordBatch]]:
        first = 0
        for batch in read_batches(path, columns):
            numbers = part_of[first : first + len(batch)]
            yield [batch.filter(pa.array(numbers == number)) for number in range(len(parts))]
            first += len(batch)

    return _store(store, tuple(parts), divided)


def _store(store: Store, names: Sequence[SplitName], divided: _Divided) -> tuple[Split, ...]:
    contents = [_Content() for _ in names]
    for column in COLUMNS:
        for batches in divided([column]):
            for content, batch in zip(contents, batches, strict=True):
                content.add(batch.column(0))
        for content in contents:
            content.end_column()
    splits = tuple(content.split(name) for name, content in zip(names, contents, strict=True))
    _write(store, splits, divided)
    return splits


def _write(store: Store, splits: Sequence[Split], divided: _Divided) -> None:
    """Write the parts that are not stored yet, all at once."""
    with ExitStack() as stack:
        folders = [stack.enter_context(store.staging()) for _ in splits]  # it removes what a killed process left
        missing = {place for place, split in enumerate(splits) if not store.contains("splits", split.digest)}
        with ExitStack() as files:
            writers = {
                place: files.enter_context(pa.parquet.ParquetWriter(folders[place] / "rows.parquet", ROWS_SCHEMA))
                for place in missing
            }
            for batches in divided(COLUMNS) if missing else ():
                for place, writer in writers.items():
                    writer.write_batch(batches[place])
        for place in missing:
            store.commit(folders[place], "splits", splits[place].digest)


class _Content:
    """Digests the values of a part column by column, independent of the file format; no value contains a NUL."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._began = False
        self._rows = self._positives = 0

    def add(self, values: pa.Array) -> None:
        """Add values of the column; a null counts as the text None."""
        if not len(values):
            return
        texts = pc.fill_null(values.cast(pa.string()), "None")
        self._sha.update(b"\0" * self._began)
        self._sha.update(pc.binary_join(pa.ListArray.from_arrays([0, len(texts)], texts), "\0")[0].as_buffer())
        self._began = True
        if pa.types.is_integer(values.type):  # the last column, target
            self._rows += len(values)
            self._positives += int(pc.sum(values).as_py())

    def end_column(self) -> None:
        """End a column; the next one begins."""
        self._sha.update(b"\0\0")
        self._began = False

    def split(self, name: SplitName) -> Split:
        """The record of the part, after its last column."""
        return Split(name=name, digest=self._sha.hexdigest(), rows=self._rows, positives=self._positives)
