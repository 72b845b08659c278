"""This week against last week: what changed in the file since the one that the champion comes from."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from ml.data import text_measures
from ml.data.rows import ROWS_SCHEMA
from ml.metrics import FloatArray
from ml.records import ChampionSnapshot, ModelDescription, NoChampion, SnapshotElsewhere, from_json
from ml.registry import CHAMPION_ALIAS
from ml.run import Run

Since = ChampionSnapshot | SnapshotElsewhere | NoChampion

_LENGTH_BINS = [0, 30, 40, 50, 60, 70, 85, 100, 125, 150, 200, np.inf]
_HALF_A_ROW = 0.5


def find_champions_snapshot(run: Run) -> Since:
    """The file that the champion comes from, if it is here; raises RegistryUnavailable if that is not sure."""
    champion = run.registry.resolve(CHAMPION_ALIAS)
    if isinstance(champion, NoChampion):
        return champion
    model = run.registry.fetch(champion.version) / "model.json"
    snapshot = from_json(model.read_text(encoding="utf-8"), ModelDescription).snapshot
    kind = ChampionSnapshot if run.store.contains("snapshots", snapshot) else SnapshotElsewhere
    return kind(version=champion.version, snapshot=snapshot)


def describe_since(since: Since) -> str:
    """A sentence for a log and a page."""
    match since:
        case NoChampion():
            return "There is no champion whose file this one could be compared with."
        case SnapshotElsewhere():
            return f"What changed since champion {since.version} is unknown: its file is not in this store."
        case ChampionSnapshot():
            return f"Compared with the file of champion {since.version}."


def measure_change(run: Run, since: ChampionSnapshot, rows: pa.Table) -> pd.DataFrame:
    """One row of figures: shares of the champion's ids, `growth` as a ratio of ids, `balance_shift` as a share of rows.

    `length_shift` is a Kullback-Leibler divergence in nats.
    """
    path = run.store.open("snapshots", since.snapshot) / "rows.parquet"
    before = _by_id(pa.parquet.read_table(path, columns=ROWS_SCHEMA.names))
    now = _by_id(rows.select(ROWS_SCHEMA.names))
    both = before.index.intersection(now.index)
    then_both, now_both = before.loc[both], now.loc[both]
    figures = {
        "vanished": 1 - len(both) / len(before),
        "relabelled": int((then_both["target"] != now_both["target"]).sum()) / len(before),
        "reworded": int((then_both["question_text"] != now_both["question_text"]).sum()) / len(before),
        "growth": len(now) / len(before),
        "balance_shift": abs(float(now["target"].mean() - before["target"].mean())),
        "length_shift": _divergence(_lengths(now), _lengths(before)),
    }
    return pd.DataFrame([figures])


def _by_id(table: pa.Table) -> pd.DataFrame:
    rows: pd.DataFrame = table.to_pandas()
    return rows.drop_duplicates("qid").set_index("qid")


def _lengths(rows: pd.DataFrame) -> FloatArray:
    """The share of texts in each bin of lengths in characters; half a row more in each, so that none is empty."""
    lengths = text_measures.characters(pa.chunked_array([pa.array(rows["question_text"], pa.string())])).to_numpy()
    counts = np.histogram(lengths, _LENGTH_BINS)[0] + _HALF_A_ROW
    return np.asarray(counts / counts.sum())


def _divergence(now: FloatArray, before: FloatArray) -> float:
    return float(np.sum(now * np.log(now / before)))
