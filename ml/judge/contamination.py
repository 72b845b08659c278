"""Leave out the test rows that a champion may have been trained on; no model is measured on them."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ml.data.normalise import normalise
from ml.data.rows import read_part, store_part
from ml.records import Contamination, ModelDescription, Split, UnknownContamination, from_json
from ml.store import Store

logger = logging.getLogger(__name__)


def leave_out_seen(store: Store, test: Split, *models: Path) -> tuple[Split, Contamination | UnknownContamination]:
    """Return the test rows whose normalised text no model was fitted to, and the number of rows that are left out.

    With the hash split and the fractions of the champion's run no row is left out. If the store lacks rows that a model
    was fitted to, no row is left out and the number is unknown. `models` are the folders of the champion and, if the
    candidate started from a champion's weights, of the candidate.
    """
    fitted = sorted({part for model in models for part in _read_fitted_parts(model)})
    if not all(store.contains("splits", part) for part in fitted):
        logger.warning("which rows the champion was trained on is not known here: none are left out")
        return test, UnknownContamination()
    rows = read_part(store, test)
    seen = rows["question_text"].map(normalise).isin(_read_texts(store, fitted))
    if not seen.any():
        return test, Contamination(rows=0)
    logger.warning("%d of %d test rows may have been in the champion's training: left out", seen.sum(), len(rows))
    kept = pa.Table.from_pandas(rows[~seen], preserve_index=False)
    return store_part(store, "test", kept), Contamination(rows=int(seen.sum()))


def _read_fitted_parts(model: Path) -> tuple[str, ...]:
    """Return the digests of the parts that the model's weights and threshold were fitted to."""
    return from_json((model / "model.json").read_text(encoding="utf-8"), ModelDescription).fitted_to


def _read_texts(store: Store, parts: Sequence[str]) -> set[str]:
    folders = [store.open("splits", part) for part in parts]
    tables = [pd.read_parquet(folder / "rows.parquet", columns=["question_text"]) for folder in folders]
    return {normalise(text) for table in tables for text in table["question_text"]}
