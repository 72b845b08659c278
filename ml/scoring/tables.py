"""Score the rows of a CSV or Parquet file in a stream: memory is bounded, rows stay in order, as many out as in."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml.errors import DataError
from ml.model.predict import ADDED_COLUMNS, TEXT_COLUMN, WINDOW_ROWS, LoadedModel, score_csv, text_column
from ml.model.profile import Tally
from ml.progress import progress
from ml.source.csv_rows import ENCODING
from ml.source.other_formats import START_BYTES, check_start

Format = Literal["CSV", "Parquet"]

_PARQUET_MAGIC = b"PAR1"
_BUFFER_BYTES = 1 << 20
_ADDED = tuple(zip(ADDED_COLUMNS, (pa.float32(), pa.int8()), strict=True))


def format_of(questions: Path, source: str) -> Format:
    """Tell the format by the first bytes; raises DataError for a file that is neither."""
    with questions.open("rb") as file:
        start = file.read(START_BYTES)
    if start.startswith(_PARQUET_MAGIC):
        return "Parquet"
    check_start(start, source)
    return "CSV"


def score_table(model: LoadedModel, questions: Path, scored: Path, source: str, tally: Tally) -> None:
    """Write a copy with the columns `probability` and `label`, in the file's own format, and count its rows.

    Raises DataError for a file that cannot be read, has no one column `question_text`, or has no rows.
    """
    if format_of(questions, source) == "Parquet":
        _score_parquet(model, questions, scored, source, tally)
    else:
        with (
            questions.open("r", encoding=ENCODING, newline="") as rows,
            scored.open("w", encoding="utf-8", newline="") as to,
        ):
            score_csv(model, rows, to, source, tally.add)
    if not tally.profile().rows:
        raise DataError("there are no rows in it", where=source, fix="see whether the export was cut off")


def _score_parquet(model: LoadedModel, questions: Path, scored: Path, source: str, tally: Tally) -> None:
    with (
        _parquet_errors(source),
        pq.ParquetFile(questions, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file,
        progress("score", file.metadata.num_rows, " rows") as bar,
    ):
        column = text_column(file.schema_arrow.names, source)
        _check_type(file.schema_arrow.field(column).type, source)
        with pq.ParquetWriter(scored, _with_scores(file.schema_arrow)) as writer:
            for batch in file.iter_batches(batch_size=WINDOW_ROWS):
                writer.write_batch(_scored(model, batch, column, tally))
                bar.update(batch.num_rows)


@contextmanager
def _parquet_errors(source: str) -> Iterator[None]:
    """Turn the errors of a broken Parquet file into DataError; errors of the disk, which have an errno, stay."""
    try:
        yield
    except UnicodeDecodeError:
        raise DataError("a text in it is not UTF-8", where=source, fix="write the texts as UTF-8") from None
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise DataError(
            f"the Parquet file is broken, cut off or encrypted ({type(error).__name__})",
            where=source,
            fix="write it again, and check its size against the source's",
        ) from None


def _check_type(kind: pa.DataType, source: str) -> None:
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(values) or pa.types.is_large_string(values) or pa.types.is_string_view(values)):
        raise DataError(
            f"the column {TEXT_COLUMN} is of the type {str(kind)[:40]}",
            where=source,
            fix="write the texts as strings",
        )


def _with_scores(schema: pa.Schema) -> pa.Schema:
    for name, kind in _ADDED:
        schema = schema.append(pa.field(name, kind))
    return schema


def _scored(model: LoadedModel, batch: pa.RecordBatch, column: int, tally: Tally) -> pa.RecordBatch:
    """Return the batch with its scores; a row whose text is null has null in both columns."""
    texts = batch.column(column).to_pylist()
    given = [text for text in texts if text is not None]
    scores = model.score(given)
    tally.add(given, scores)
    tally.add_missing(len(texts) - len(given))
    labels = (scores >= model.threshold).astype(np.int8)
    added = [_beside(texts, values, kind) for values, (_, kind) in zip((scores, labels), _ADDED, strict=True)]
    return pa.RecordBatch.from_arrays([*batch.columns, *added], schema=_with_scores(batch.schema))


def _beside(texts: Sequence[str | None], values: Any, kind: pa.DataType) -> pa.Array:
    missing = np.array([text is None for text in texts], dtype=bool)
    spread = np.zeros(len(texts), values.dtype)
    spread[~missing] = values
    return pa.array(spread, kind, mask=missing)
