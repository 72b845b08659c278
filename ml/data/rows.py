"""Read and store the rows of a split's parts, each part under the digest of its content."""

import hashlib

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ml.errors import LineageError
from ml.records import Split, SplitName
from ml.store import Store

ROWS_SCHEMA = pa.schema([("qid", pa.string()), ("question_text", pa.string()), ("target", pa.int8())])


def read_part(store: Store, part: Split) -> pd.DataFrame:
    """Read the rows of a part (qid, question_text, target); raises LineageError if their counts are not as recorded."""
    rows = pd.read_parquet(store.open("splits", part.digest) / "rows.parquet")
    if (len(rows), int(rows["target"].sum())) != (part.rows, part.positives):
        raise LineageError(
            f"the {part.name} rows that are stored are not those of the record",
            where=f"store/splits/{part.digest[:12]}",
            fix="run split again",
        )
    return rows


def store_part(store: Store, name: SplitName, rows: pa.Table) -> Split:
    """Store the rows of a part under the digest of their content."""
    sha256 = _rows_digest(rows)
    with store.staging() as folder:  # even if the rows are stored already: it removes what a killed process left
        if not store.contains("splits", sha256):
            pa.parquet.write_table(rows, folder / "rows.parquet")
            store.commit(folder, "splits", sha256)
    return Split(name=name, digest=sha256, rows=rows.num_rows, positives=int(pc.sum(rows["target"]).as_py()))


def _rows_digest(rows: pa.Table) -> str:
    """Return the sha256, in hex, of the columns' values, independent of the file format; no value contains a NUL."""
    sha = hashlib.sha256()
    for column in ROWS_SCHEMA.names:
        sha.update("\0".join(map(str, rows[column].to_pylist())).encode())
        sha.update(b"\0\0")
    return sha.hexdigest()
