"""Which test rows a champion may have been trained on: those are left out, for both models."""

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
    """The test rows whose normalised text no model was fitted to, as a part of their own, and how many the others were.

    With the hash split and the fractions of the champion's run there are none. `models` are the folders of the
    champion, and of a candidate that started from a champion's weights.
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
    """Digests of the parts that weights and threshold were fitted to."""
    return from_json((model / "model.json").read_text(encoding="utf-8"), ModelDescription).fitted_to


def _read_texts(store: Store, parts: Sequence[str]) -> set[str]:
    folders = [store.open("splits", part) for part in parts]
    tables = [pd.read_parquet(folder / "rows.parquet", columns=["question_text"]) for folder in folders]
    return {normalise(text) for table in tables for text in table["question_text"]}
