"""Reading the stored rows of a split."""

import pandas as pd

from ml.errors import LineageError
from ml.records import Split
from ml.store import Store


def read_part(store: Store, part: Split) -> pd.DataFrame:
    """The rows of a part: qid, question_text, target; raises LineageError if they are not as recorded."""
    rows = pd.read_parquet(store.open("splits", part.digest) / "rows.parquet")
    if (len(rows), int(rows["target"].sum())) != (part.rows, part.positives):
        raise LineageError(
            f"the {part.name} rows that are stored are not those of the record",
            where=f"store/splits/{part.digest[:12]}",
            fix="run split again",
        )
    return rows
