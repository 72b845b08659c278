"""The one reader of CSV, for the header and the rows of what is trained on and of what is scored: RFC 4180, strictly.

What the standard does not allow is refused where another reader would guess, since a guess alters texts in silence.
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
    """Rows, each with as many fields as asked for, and the text of each record that has another number of them."""

    rows: list[list[str]]
    ragged: list[str]


class Records(Iterator[list[str]]):
    """The fields of one record after the other, the header too; a blank line is a record without fields.

    `line` is the number of the last record's first line. Raises DataError where the quotes do not fit, NeverClosed
    at the end of a file that lacks one.
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
        """The last record's lines; of one that could not be read, what was read of it."""
        return "".join(self._record_lines).rstrip("\r\n")

    def header(self) -> list[str]:
        """The first record that is not blank, or no fields if there is none."""
        return next((record for record in self if any(field.strip() for field in record)), [])

    def batches(self, fields: int) -> Iterator[Batch]:
        """The records that are left, many at once, which is quicker; blank lines are none."""
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
    """The records of whole lines, if each has so many fields and each quote is closed; else None."""
    try:
        rows = [record for record in csv.reader(lines, strict=True) if record]
    except csv.Error:
        return None
    return rows if all(len(row) == fields for row in rows) else None
