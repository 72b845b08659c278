"""Remove ids and questions from the pages of reports, and from the scored files in the home."""

import csv
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from markupsafe import escape

from ml.store.files import write_whole, writing_whole

_ERASED = "[erased]"
_PAGES = {".html", ".json", ".txt", ".csv", ".svg"}
# A shorter one may be any word of a page; as a whole cell of a table it is found all the same.
_LONG_ENOUGH = 16


def erase_from_pages(reports: Path, ids: Collection[str], texts: Collection[str]) -> int:
    """Replace each id and each question on a page of the reports; return how many there were."""
    wanted = sorted({*_cells(texts), *_mentions(ids, texts)}, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, wanted)))
    found = 0
    for path in sorted(reports.rglob("*")) if wanted else ():
        if path.suffix in _PAGES and path.is_file() and not path.is_symlink():
            page, some = pattern.subn(_replacement, path.read_text(encoding="utf-8", errors="surrogateescape"))
            if some:
                write_whole(path, page.encode(errors="surrogateescape"))
            found += some
    return found


def erase_from_scored(folder: Path, ids: Collection[str], texts: Collection[str]) -> int:
    """Remove the rows with these ids, and in a file without ids those with these questions; return how many."""
    found = 0
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        if path.suffix == ".parquet":
            found += _erase_from_parquet(path, ids, texts)
        elif path.suffix == ".csv":
            found += _erase_from_csv(path, ids, texts)
    return found


def _cells(texts: Collection[str]) -> Iterator[str]:
    return (f"<td>{escape(text)}</td>" for text in texts)


def _mentions(ids: Collection[str], texts: Collection[str]) -> Iterator[str]:
    for each in (*ids, *texts):
        if len(each) >= _LONG_ENOUGH:
            yield from (each, str(escape(each)), json.dumps(each)[1:-1], json.dumps(each, ensure_ascii=False)[1:-1])


def _replacement(found: re.Match[str]) -> str:
    return f"<td>{_ERASED}</td>" if found[0].startswith("<td>") else _ERASED


def _erase_from_parquet(path: Path, ids: Collection[str], texts: Collection[str]) -> int:
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        column, wanted = ("qid", ids) if "qid" in schema.names else ("question_text", texts)
        values = pa.array(sorted(wanted), pa.string())
        found = sum(_count(batch.column(0), values) for batch in file.iter_batches(columns=[column]))
        if found:
            with writing_whole(path) as to, pq.ParquetWriter(to.buffer, schema) as writer:
                for batch in file.iter_batches():
                    writer.write_batch(batch.filter(pc.invert(_is_in(batch[column], values))))
    return found


def _is_in(column: pa.Array, values: pa.Array) -> pa.Array:
    return pc.is_in(column.cast(pa.string()), value_set=values)


def _count(column: pa.Array, values: pa.Array) -> int:
    return pc.sum(_is_in(column, values)).as_py() or 0


def _erase_from_csv(path: Path, ids: Collection[str], texts: Collection[str]) -> int:
    with path.open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    column, wanted = ("qid", ids) if "qid" in header else ("question_text", texts)
    place = header.index(column)
    found = sum(row[place] in wanted for row in _rows(path))
    if found:
        with writing_whole(path) as to:
            csv.writer(to, lineterminator="\n").writerows(row for row in _rows(path) if row[place] not in wanted)
    return found


def _rows(path: Path) -> Iterator[list[str]]:
    """Yield the rows of a CSV file, its header too, one at a time."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.reader(file)
