"""Read a CSV file into a table, or raise one clear error that says why it cannot be read."""

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from ml.errors import DataError
from ml.progress import progress
from ml.source.download import html_instead_of_csv

_BLOCK_BYTES = 1 << 24
_UTF8_BOM, _UTF16_BOMS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_COLUMN_NAME = re.compile(r"[A-Za-z_][\w .-]{0,62}")
_MAX_COLUMNS = 30
_DELIMITERS = {";": "semicolon", "\t": "tab", "|": "bar"}


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """Columns of text (an empty field is null); `target` is int64 if all its values are integers.

    `quarantined` has the rows with too few or too many fields.
    """

    table: pa.Table
    quarantined: tuple[str, ...]


def parse(path: Path, *, source: str) -> Parsed:
    """Read the whole file (RFC 4180, UTF-8); raises DataError if it is not a CSV."""
    _check_bytes(path, source)
    columns = _check_header(path, source)
    quarantined: list[str] = []

    def set_aside(row: pa.csv.InvalidRow) -> str:
        quarantined.append(row.text)
        return "skip"

    try:
        table = pa.csv.read_csv(
            path,
            read_options=pa.csv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=set_aside),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
    except pa.ArrowInvalid:
        raise _not_csv("the rows cannot be told apart", source, "look for a quote that is never closed") from None
    if table.num_rows == 0:
        raise _not_csv("the file has a header and no rows", source, "check that the whole file was written")
    return Parsed(table=_with_numeric_target(table), quarantined=tuple(quarantined))


def _check_bytes(path: Path, source: str) -> None:
    """Raise DataError unless the file is UTF-8 without byte-order mark and NUL; the error names the byte's offset."""
    offset = 0
    with path.open("rb") as file, progress("check the bytes", path.stat().st_size, "B", scaled=True) as bar:
        _check_start(file.read(512), source)
        file.seek(0)
        for line in file:
            _check_line(line, offset, source)
            offset += len(line)
            bar.update(len(line))


def _check_start(start: bytes, source: str) -> None:
    if not start.strip():
        raise _not_csv("the file is empty", source, "check that the download or export finished")
    if start.startswith(_UTF16_BOMS):
        raise _not_csv("the file is UTF-16", source, "save it as UTF-8, for example: iconv -f UTF-16 -t UTF-8")
    if start.startswith(_UTF8_BOM):
        raise _not_csv(
            "the file starts with a byte-order mark", source, "save it as UTF-8 without BOM, or drop its first 3 bytes"
        )
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise html_instead_of_csv(source)


def _check_line(line: bytes, offset: int, source: str) -> None:
    if (position := line.find(b"\0")) >= 0:
        raise _not_csv(
            f"there is a NUL byte at offset {offset + position}", source, "remove it, for example: tr -d '\\000'"
        )
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_csv(
            f"the file is not UTF-8: byte 0x{line[error.start]:02x} at offset {offset + error.start}",
            source,
            "if it is Latin-1, convert it: iconv -f LATIN1 -t UTF-8",
        ) from None


def _check_header(path: Path, source: str) -> list[str]:
    """Return the column names; raises DataError, whose message never quotes a line that may be a row."""
    columns = _first_record(path, source)
    header = ",".join(columns)
    if len(columns) == 1:
        seen = [name for mark, name in _DELIMITERS.items() if mark in header]
        what = f"the columns are separated by {seen[0]}, not by comma" if seen else "the header has a single column"
        raise _not_csv(what, source, "export it with commas")
    if len(columns) > _MAX_COLUMNS or not all(_COLUMN_NAME.fullmatch(column) for column in columns):
        raise _no_header(source)
    repeated = [column for column, count in Counter(columns).items() if count > 1]
    if repeated:
        raise _not_csv(f"the column {repeated[0]} occurs twice", source, "give each column a name of its own")
    return columns


def _first_record(path: Path, source: str) -> list[str]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return next(csv.reader(file), [])
    except csv.Error:
        raise _no_header(source) from None


def _with_numeric_target(table: pa.Table) -> pa.Table:
    if "target" not in table.column_names:
        return table
    try:
        numbers = table["target"].cast(pa.int64())
    except pa.ArrowInvalid:
        return table
    return table.set_column(table.column_names.index("target"), "target", numbers)


def _no_header(source: str) -> DataError:
    fix = "let it name the columns: qid,question_text,target"
    return _not_csv("the first line is not a header", source, fix)


def _not_csv(what: str, source: str, fix: str) -> DataError:
    return DataError(what, where=source, fix=fix)
