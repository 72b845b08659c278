"""The champion on fresh rows: which of them it may have been trained on, and whether it still reaches the floors."""

import json
import logging
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ml.config import PolicyConfig
from ml.data.normalise import normalise
from ml.data.rows import read_part, store_part
from ml.records import AbsentChampion, Contamination, Rival, Split, UnknownContamination
from ml.store import Store

logger = logging.getLogger(__name__)

_FLOORS = ("precision", "recall", "average_precision")


def leave_out_seen(store: Store, test: Split, *models: Path) -> tuple[Split, Contamination | UnknownContamination]:
    """The test rows whose normalised text no model was fitted to, as a part of their own, and how many the others were.

    With the hash split and the fractions of the champion's run there are none. `models` are the folders of the
    champion, and of a candidate that started from a champion's weights.
    """
    fitted_by_model = [_read_fitted_parts(model) for model in models]
    fitted = sorted({part for parts in fitted_by_model for part in parts})
    if not all(fitted_by_model) or not all(store.contains("splits", part) for part in fitted):
        logger.warning("which rows the champion was trained on is not known here: none are left out")
        return test, UnknownContamination()
    rows = read_part(store, test)
    seen = rows["question_text"].map(normalise).isin(_read_texts(store, fitted))
    if not seen.any():
        return test, Contamination(rows=0)
    logger.warning("%d of %d test rows may have been in the champion's training: left out", seen.sum(), len(rows))
    kept = pa.Table.from_pandas(rows[~seen], preserve_index=False)
    return store_part(store, "test", kept), Contamination(rows=int(seen.sum()))


def alarms(rival: Rival | AbsentChampion, policy: PolicyConfig) -> tuple[str, ...]:
    """A sentence for each floor that the champion does not reach any more."""
    if isinstance(rival, AbsentChampion):
        return ()
    observed = {name: getattr(rival.evaluation, name) for name in _FLOORS}
    floors = {name: getattr(policy, f"min_{name}") for name in _FLOORS}
    return tuple(
        f"champion {rival.champion.version}: {name.replace('_', ' ')} {observed[name]:.4f} is under {floors[name]:.4f}"
        for name in _FLOORS
        if observed[name] < floors[name]
    )


def _read_fitted_parts(model: Path) -> list[str]:
    """Digests of the parts that weights and threshold were fitted to; empty for a model that does not say."""
    description = json.loads((model / "model.json").read_text(encoding="utf-8"))
    return list(description.get("fitted_to", []))


def _read_texts(store: Store, parts: list[str]) -> set[str]:
    folders = [store.open("splits", part) for part in parts]
    tables = [pd.read_parquet(folder / "rows.parquet", columns=["question_text"]) for folder in folders]
    return {normalise(text) for table in tables for text in table["question_text"]}
