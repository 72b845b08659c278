"""Read the records of a CSV strictly by RFC 4180: one reader for header and rows, in training and in prediction.

It refuses quotes that other readers guess about, since a wrong guess alters texts without a message.
"""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from ml.errors import DataError

ENCODING = "utf-8-sig"  # a byte-order mark is no part of the first column's name
LONGEST_LINE = 1 << 22
_BATCH_CHARACTERS = 1 << 22
_LONGEST_FIELD = 131_072  # Python's csv.field_size_limit


class NeverClosed(DataError):
    """The file ends within quotes."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows with the right number of fields, and the text of each record with another number."""

    rows: list[list[str]]
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
        while lines := self._file.readlines(_BATCH_CHARACTERS):
            rows = _read_at_once(lines, fields)
            if rows is None:
                yield self._read_one_by_one(lines, fields)
            else:
                self._lines_of_batches += len(lines)
                yield Batch(rows=rows, ragged=[])

    def _read_one_by_one(self, lines: list[str], fields: int) -> Batch:
        batch = Batch(rows=[], ragged=[])
        self._ahead.extend(lines)
        try:
            while self._ahead:
                record = next(self)
                if len(record) == fields:
                    batch.rows.append(record)
                elif record:
                    batch.ragged.append(self.text)
        except NeverClosed:
            batch.ragged.append(self.text)
        return batch

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


def _read_at_once(lines: list[str], fields: int) -> list[list[str]] | None:
    """Return the records of these lines; None if one has another number of fields, or a quote is wrong or open."""
    try:
        rows = [record for record in csv.reader(lines, strict=True) if record]
    except csv.Error:
        return None
    return rows if all(len(row) == fields for row in rows) else None
