"""Read a CSV file into a Parquet file, or raise one clear error that says why it cannot be read."""

import codecs
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ml.config import SourceConfig
from ml.errors import ConfigError, DataError
from ml.progress import progress
from ml.source.csv_rows import ENCODING, LONGEST_LINE, Records
from ml.source.download import CHUNK_BYTES
from ml.source.other_formats import START_BYTES, check_start

logger = logging.getLogger(__name__)

AUTO = "auto"
_COLUMNS = {"qid", "question_text", "target"}
_COLUMN_NAME = re.compile(r"[A-Za-z_][\w .-]{0,62}")
_MAX_COLUMNS = 30
_DELIMITERS = {";": "semicolon", "\t": "tab", "|": "bar"}
_NAMELESS = re.compile(r"Unnamed: [0-9]+(\.[0-9]+)*")  # as pandas calls a column without a name that it reads
_WHOLE_NUMBER = r"^-?(0|[1-9][0-9]*)(\.0*)?$"

_OfTarget = Callable[[pa.ChunkedArray], pa.ChunkedArray]


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What was read: the columns that are kept, how many rows, and those with too few or too many fields."""

    columns: tuple[str, ...]
    rows: int
    quarantined: tuple[str, ...]


class _NotNumericError(Exception):
    """A target is no whole number."""


def parse(path: Path, config: SourceConfig, *, source: str, to: Path) -> Parsed:
    """Read the file (RFC 4180, UTF-8), some rows at a time, and write the columns that are no index to a Parquet file.

    They are text, and an empty field is null; `target` is int64 if all its values are whole numbers. Raises DataError
    if it is not a CSV.
    """
    _check_bytes(path, source)
    try:
        return _parse(path, config, source, to, _numeric_target)
    except _NotNumericError:
        return _parse(path, config, source, to, _as_text)


def _parse(path: Path, config: SourceConfig, source: str, to: Path, of_target: _OfTarget) -> Parsed:
    with path.open(encoding=ENCODING, newline="") as file:
        records = Records(file, source)
        columns = _read_header(records, source)
        left_out = _left_out(columns, config.index_column)
        _check_names(columns, left_out, source)
        kept = [name for name in columns if name not in left_out]
        quarantined: list[str] = []
        tables = (pa.table(chunk, names=columns) for chunk in _chunks(records, len(columns), quarantined))
        rows = 0
        with pa.parquet.ParquetWriter(to, _schema(kept, of_target)) as writer:
            for table in tables:
                _check_left_out(table, left_out, config, source)
                writer.write_table(_with_target(table.select(kept), of_target))
                rows += table.num_rows
    if not rows and not quarantined:
        raise _not_csv("the file has a header and no rows", source, "check that the whole file was written")
    for name in left_out:
        logger.info("%s: the column %r, which counts the rows, is left out", source, name)
    return Parsed(columns=tuple(kept), rows=rows, quarantined=tuple(quarantined))


def _schema(columns: Sequence[str], of_target: _OfTarget) -> pa.Schema:
    empty = pa.chunked_array([], pa.string())
    return _with_target(pa.table([empty] * len(columns), names=list(columns)), of_target).schema


def _check_bytes(path: Path, source: str) -> None:
    """Raise DataError unless the file is UTF-8 without NUL and endless lines; the error names the byte's offset."""
    offset, unbroken, decoder = 0, 0, codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file, progress("check the bytes", path.stat().st_size, "B", scaled=True) as bar:
        check_start(file.read(START_BYTES), source)
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            _check_chunk(chunk, decoder, offset, source)
            offset += len(chunk)
            unbroken = 0 if b"\n" in chunk or b"\r" in chunk else unbroken + len(chunk)
            _check_lines(unbroken, source)
            bar.update(len(chunk))
        _check_chunk(b"", decoder, offset, source)


def _check_lines(unbroken: int, source: str) -> None:
    """Raise DataError for a line that is too long, before a reader takes all of it into memory."""
    if unbroken > LONGEST_LINE:
        raise _not_csv("a line is too long to hold a row", source, "see whether the line breaks were lost")


def _check_chunk(chunk: bytes, decoder: codecs.IncrementalDecoder, offset: int, source: str) -> None:
    """Raise DataError for NUL or bytes that are not UTF-8; `offset` is that of the chunk, the last chunk is empty."""
    if (position := chunk.find(b"\0")) >= 0:
        raise _not_csv(
            f"there is a NUL byte at offset {offset + position}",
            source,
            "see whether this is text at all; if so, remove it: tr -d '\\000'",
        )
    offset -= len(decoder.getstate()[0])
    try:
        decoder.decode(chunk, final=not chunk)
    except UnicodeDecodeError as error:
        raise _not_csv(
            f"the file is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {offset + error.start}",
            source,
            "if it is Latin-1, convert it: iconv -f LATIN1 -t UTF-8",
        ) from None


def _read_header(records: Records, source: str) -> list[str]:
    """Return the column names, with pandas' names for unnamed columns.

    Raises DataError, whose message never quotes a line that may be a row.
    """
    try:
        columns = records.header()
    except DataError:
        raise _other_separator(records.text, source) from None
    if not columns:
        raise _not_csv("the file is empty", source, "check that the download or export finished")
    if columns[0].lower().startswith("sep="):
        raise _not_csv("the first line is Excel's sep=", source, "remove that line, and export with commas")
    if len(columns) == 1:
        raise _other_separator(columns[0], source)
    if len(columns) > _MAX_COLUMNS or not _COLUMNS & set(columns):
        raise _no_header(source)
    return [name or f"Unnamed: {number}" for number, name in enumerate(columns)]


def _other_separator(header: str, source: str) -> DataError:
    """Return the error for a header with a single field."""
    header = header.partition("\n")[0].strip()
    seen = [name for mark, name in _DELIMITERS.items() if mark in header]
    if seen and _COLUMNS & set(re.split(r"\W+", header)):
        return _not_csv(f"the columns are separated by {seen[0]}, not by comma", source, "export it with commas")
    if header in _COLUMNS:
        return _not_csv("the header has a single column", source, "export all columns, with commas")
    return _no_header(source)


def _left_out(columns: Sequence[str], index_column: str) -> list[str]:
    """Return the index columns: unnamed first columns, and the one that the settings name."""
    nameless = list(takewhile(_NAMELESS.fullmatch, columns))
    if index_column in (AUTO, *nameless):
        return nameless
    if index_column not in columns:
        raise ConfigError(
            "the file has no such column", where="source.index_column", fix=f"name one of the file's, or {AUTO}"
        )
    return [*nameless, index_column]


def _check_names(columns: Sequence[str], left_out: Sequence[str], source: str) -> None:
    for number, name in enumerate(columns, start=1):
        if columns.count(name) > 1:
            what = f"the name of column {number} occurs twice"
            raise _not_csv(what, source, "give each column a name of its own")
        if name not in left_out and not _COLUMN_NAME.fullmatch(name):
            unnamed = f"column {number} has no name"
            unreadable = f"the first line is not a header: the name of column {number} cannot be"
            fix = "name it with letters and digits; a comma too many at the end of each line looks like this, too"
            raise _not_csv(unnamed if _NAMELESS.fullmatch(name) else unreadable, source, fix)


def _chunks(records: Records, columns: int, quarantined: list[str]) -> Iterator[list[pa.Array]]:
    """Yield the columns of some rows at a time; rows with a wrong number of fields go to `quarantined`."""
    with progress("read the rows", None, " rows") as bar:
        for batch in records.batches(columns):
            quarantined += batch.ragged
            if batch.columns:
                bar.update(len(batch.columns[0]))
                yield batch.columns


def _check_left_out(table: pa.Table, left_out: Sequence[str], config: SourceConfig, source: str) -> None:
    """Raise DataError for an unnamed index column with other values than row numbers."""
    for name in left_out:
        if config.index_column != name and not _all_match(table[name], "^[0-9]+$"):
            fix = f'name it in the file, or leave it out by source.index_column = "{name}"'
            raise _not_csv(f"column {table.column_names.index(name) + 1} has no name", source, fix)


def _with_target(table: pa.Table, of_target: _OfTarget) -> pa.Table:
    if "target" not in table.column_names:
        return table
    return table.set_column(table.column_names.index("target"), "target", of_target(table["target"]))


def _as_text(target: pa.ChunkedArray) -> pa.ChunkedArray:
    return target


def _numeric_target(target: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return int64; raises _NotNumericError unless all are whole numbers, which pandas may have written as floats."""
    if not _all_match(target.unique(), _WHOLE_NUMBER):
        raise _NotNumericError
    try:
        return pc.replace_substring_regex(target, r"\.0*$", "").cast(pa.int64())
    except pa.ArrowInvalid:
        raise _NotNumericError from None


def _all_match(column: pa.ChunkedArray | pa.Array, pattern: str) -> bool:
    """Tell whether all values that are not null match the pattern."""
    return bool(pc.all(pc.match_substring_regex(column, pattern), min_count=0).as_py())


def _no_header(source: str) -> DataError:
    fix = "let it name the columns: qid,question_text,target"
    return _not_csv("the first line is not a header", source, fix)


def _not_csv(what: str, source: str, fix: str) -> DataError:
    return DataError(what, where=source, fix=fix)
