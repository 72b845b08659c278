"""Leave out the test rows that a champion may have been trained on; no model is measured on them."""

import logging
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ml.config import SplitConfig
from ml.data.normalise import normalise_all
from ml.data.rows import read_batches, read_part, store_part
from ml.errors import DataError
from ml.records import Contamination, ModelDescription, NoChampion, Split, UnknownContamination, from_json
from ml.registry import CHAMPION_ALIAS
from ml.run import Run
from ml.store import Store

logger = logging.getLogger(__name__)


def foresee_contamination(config: SplitConfig, run: Run, test: Split) -> None:
    """Find before any training which test rows the champion was fitted to; raises DataError if too few others remain.

    The step `evaluate` leaves them out. Raises RegistryUnavailable if it is not sure which model is the champion.
    """
    champion = run.registry.resolve(CHAMPION_ALIAS)
    if isinstance(champion, NoChampion):
        return
    _, contamination = leave_out_seen(config, run.store, test, run.registry.fetch(champion.version))
    if isinstance(contamination, UnknownContamination):
        logger.warning("no candidate will take over from champion %s, unless the run is forced", champion.version)


def leave_out_seen(
    config: SplitConfig, store: Store, test: Split, *models: Path
) -> tuple[Split, Contamination | UnknownContamination]:
    """Return the test rows whose normalised text no model was fitted to, and the number of rows that are left out.

    With the hash split and the test fraction of the champion's run no row is left out. If the store lacks rows that a
    model was fitted to, no row is left out and the number is unknown. `models` are the folders of the champion and, if
    the candidate started from a champion's weights, of the candidate. Raises DataError if too few rows remain.
    """
    fitted = sorted({part for model in models for part in _read_fitted_parts(model)})
    if not all(store.contains("splits", part) for part in fitted):
        logger.warning("which rows the champion was trained on is not known here: none are left out")
        return test, UnknownContamination()
    rows = read_part(store, test)
    texts = normalise_all(pa.array(rows["question_text"].tolist(), pa.string()))
    known = _known_texts(store, fitted, set(texts))
    seen = np.fromiter((text in known for text in texts), np.bool_, len(texts))
    if not seen.any():
        return test, Contamination(rows=0)
    kept = rows[~seen]
    _refuse_too_few(config, len(rows), kept)
    logger.warning("%d of %d test rows may have been in the champion's training: left out", seen.sum(), len(rows))
    part = store_part(store, "test", pa.Table.from_pandas(kept, preserve_index=False))
    return part, Contamination(rows=int(seen.sum()))


def _refuse_too_few(config: SplitConfig, rows: int, kept: pd.DataFrame) -> None:
    if len(kept) >= config.min_clean_test_rows and kept["target"].nunique() > 1:
        return
    raise DataError(
        f"the champion was fitted to {rows - len(kept):,} of the {rows:,} test rows: {len(kept):,} clean ones, "
        f"{int(kept['target'].sum()):,} of them positive, are too few to judge by",
        where=f"the test part; split.min_clean_test_rows is {config.min_clean_test_rows:,}",
        fix="take strategy, salt and test fraction of the champion's run, or bring more rows",
    )


def _read_fitted_parts(model: Path) -> tuple[str, ...]:
    """Digests of the parts that weights and threshold were fitted to."""
    return from_json((model / "model.json").read_text(encoding="utf-8"), ModelDescription).fitted_to


def _known_texts(store: Store, parts: Sequence[str], texts: AbstractSet[bytes]) -> set[bytes]:
    """Return those of the normalised texts that are in a part."""
    known: set[bytes] = set()
    for part in parts:
        for batch in read_batches(store.open("splits", part) / "rows.parquet", ["question_text"]):
            known |= texts & set(normalise_all(batch["question_text"]))
    return known
