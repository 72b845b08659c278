"""Read the records of a CSV strictly by RFC 4180: one reader for header and rows, in training and in prediction.

It refuses quotes that other readers guess about, since a wrong guess alters texts without a message.
"""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import TextIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.csv import ConvertOptions, ParseOptions, ReadOptions, read_csv

from ml.errors import DataError

ENCODING = "utf-8-sig"  # a byte-order mark is no part of the first column's name
LONGEST_LINE = 1 << 22
_BATCH_CHARACTERS = 1 << 22
_LONGEST_FIELD = 131_072  # Python's csv.field_size_limit
_QUOTE = ord('"')
_BEFORE, _AFTER = list(b',\n"'), list(b',\r\n"')  # what may stand beside a quote that opens, or closes


class NeverClosed(DataError):
    """The file ends within quotes."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Columns of the rows with the right number of fields, an empty field is null; the text of each other record."""

    columns: list[pa.Array]
    ragged: list[str]


class Records(Iterator[list[str]]):
    """Iterate over the records, header included; each is a list of fields, and a blank line is an empty list.

    `line` is the number of the last record's first line. Raises DataError for a wrong quote, NeverClosed if the file
    ends inside quotes.
    """

    def __init__(self, file: TextIO, source: str) -> None:
        self.line = 0
        self._file, self._source = file, source
        self._record_lines: list[str] = []
        self._ahead: deque[str] = deque()
        self._lines_of_batches = 0
        self._reader = csv.reader(self._read_lines(), strict=True)

    def __next__(self) -> list[str]:
        self.line = self._lines_of_batches + self._reader.line_num + 1
        self._record_lines.clear()
        try:
            return next(self._reader)
        except csv.Error as error:
            raise self._explain(str(error)) from None

    @property
    def text(self) -> str:
        """The lines of the last record; for a record with a wrong quote, the lines up to it."""
        return "".join(self._record_lines).rstrip("\r\n")

    def header(self) -> list[str]:
        """Return the first record that is not blank, or an empty list."""
        return next((record for record in self if any(field.strip() for field in record)), [])

    def batches(self, fields: int) -> Iterator[Batch]:
        """Yield the remaining records, many at once, which is faster; blank lines are left out."""
        while text := self._file.read(_BATCH_CHARACTERS) + self._file.readline():
            lines = StringIO(text, newline="")
            columns = _read_by_arrow(text, fields) or _read_by_python(lines, fields)
            if columns is None:
                lines.seek(0)
                yield self._read_one_by_one(lines.readlines(), fields)
            else:
                self._lines_of_batches += text.count("\n") + text.count("\r") - text.count("\r\n")
                yield Batch(columns=columns, ragged=[])

    def _read_one_by_one(self, lines: list[str], fields: int) -> Batch:
        rows, ragged = [], []
        self._ahead.extend(lines)
        try:
            while self._ahead:
                record = next(self)
                if len(record) == fields:
                    rows.append(record)
                elif record:
                    ragged.append(self.text)
        except NeverClosed:
            ragged.append(self.text)
        return Batch(columns=_columns_of(rows), ragged=ragged)

    def _read_lines(self) -> Iterator[str]:
        while line := self._ahead.popleft() if self._ahead else self._file.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE:
                raise self._refused("a line is too long to hold a row", "see whether the line breaks were lost")
            self._record_lines.append(line)
            yield line

    def _explain(self, error: str) -> DataError:
        if error == "unexpected end of data":
            return NeverClosed(
                "a quote is never closed", where=f"{self._source}, line {self.line}", fix="close it, or double it"
            )
        if "field limit" in error:
            what = f"a field has more than {_LONGEST_FIELD} characters"
            return self._refused(what, "look for a quote that is never closed")
        if '\\"' in self.text:
            fix = 'export it with doubled quotes, in Spark by option("escape", "\\"")'
            return self._refused("a quote within quotes is marked by a backslash instead of doubled", fix)
        return self._refused("a quote within quotes is not doubled", "write it twice, or see which quote is not closed")

    def _refused(self, what: str, fix: str) -> DataError:
        return DataError(what, where=f"{self._source}, line {self.line}", fix=fix)


def _read_by_arrow(text: str, fields: int) -> list[pa.Array] | None:
    """Return the columns of a text that Arrow's reader and this one read alike, else None.

    So it is where each record has the right number of fields, each quote stands where it must, and no line ends by a
    carriage return alone. Arrow's takes a byte-order mark at the beginning of a part of the file for one of the file.
    """
    content = text.encode()
    if (
        text.startswith("\ufeff")
        or text.count("\r") != text.count("\r\n")
        or not _are_quotes_right(np.frombuffer(content, np.uint8))
    ):
        return None
    try:
        table = read_csv(pa.py_buffer(content), *_options(len(content), fields))
    except pa.ArrowInvalid:
        return None
    columns = [column.combine_chunks() for column in table.columns]
    longest = max(pc.max(pc.binary_length(column)).as_py() or 0 for column in columns)
    return columns if longest <= _LONGEST_FIELD else None


def _read_by_python(lines: StringIO, fields: int) -> list[pa.Array] | None:
    """Return the columns of these lines; None if a record has another number of fields, or a quote is wrong or open."""
    try:
        rows = [record for record in csv.reader(lines, strict=True) if record]
    except csv.Error:
        return None
    return _columns_of(rows) if all(len(row) == fields for row in rows) else None


def _columns_of(rows: list[list[str]]) -> list[pa.Array]:
    return [pa.array([field or None for field in column], pa.string()) for column in zip(*rows, strict=True)]


def _options(size: int, fields: int) -> tuple[ReadOptions, ParseOptions, ConvertOptions]:
    names = [str(number) for number in range(fields)]
    return (
        ReadOptions(column_names=names, block_size=size + 1),
        ParseOptions(newlines_in_values=True),
        ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            check_utf8=False,
        ),
    )


def _are_quotes_right(content: npt.NDArray[np.uint8]) -> bool:
    """Tell whether each quote opens or closes a field, or is one of two within a quoted field; all are closed."""
    quotes = np.flatnonzero(content == _QUOTE)
    opening, closing = quotes[::2], quotes[1::2]
    before = content[opening[opening > 0] - 1]
    after = content[closing[closing + 1 < len(content)] + 1]
    return len(opening) == len(closing) and bool(np.isin(before, _BEFORE).all() and np.isin(after, _AFTER).all())
