"""This week against last week: what changed in the file since the one that the champion comes from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ml.data import text_measures
from ml.data.normalise import hash_texts
from ml.data.rows import read_batches
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


def measure_change(run: Run, since: ChampionSnapshot, path: Path) -> pd.DataFrame:
    """One row of figures: shares of the champion's ids, `growth` as a ratio of ids, `balance_shift` as a share of rows.

    `length_shift` is a Kullback-Leibler divergence in nats. `path` is the Parquet file of the rows of now.
    """
    before = _read(run.store.open("snapshots", since.snapshot) / "rows.parquet")
    now = _read(path)
    _, then_both, now_both = np.intersect1d(before.ids, now.ids, assume_unique=True, return_indices=True)
    figures = {
        "vanished": 1 - len(now_both) / len(before.ids),
        "relabelled": np.count_nonzero(before.targets[then_both] != now.targets[now_both]) / len(before.ids),
        "reworded": np.count_nonzero(before.texts[then_both] != now.texts[now_both]) / len(before.ids),
        "growth": len(now.ids) / len(before.ids),
        "balance_shift": abs(float(now.targets.mean() - before.targets.mean())),
        "length_shift": _divergence(now.lengths, before.lengths),
    }
    return pd.DataFrame([figures])


@dataclass(frozen=True, kw_only=True)
class _File:
    """Of each id's first row hashes of 64 bits of id and text, and the target, all [ids]; the lengths of all texts.

    Two ids or two texts of 13 million have the same hash with a probability of 5e-6.
    """

    ids: npt.NDArray[np.uint64]
    texts: npt.NDArray[np.uint64]
    targets: npt.NDArray[np.float64]
    lengths: FloatArray


def _read(path: Path) -> _File:
    """Read the file some rows at a time; neither ids nor texts stay in memory."""
    none = np.empty(0, np.uint64)
    ids, texts, targets = [none], [none], [np.empty(0)]
    counts = np.full(len(_LENGTH_BINS) - 1, _HALF_A_ROW)  # half a row more in each, so that none is empty
    for batch in read_batches(path):
        ids.append(_hashed(batch["qid"]))
        texts.append(_hashed(batch["question_text"]))
        targets.append(batch["target"].to_numpy(zero_copy_only=False).astype(np.float64))
        counts += np.histogram(
            text_measures.characters(batch["question_text"]).to_numpy(zero_copy_only=False), _LENGTH_BINS
        )[0]
    unique, first = np.unique(np.concatenate(ids), return_index=True)
    return _File(
        ids=unique,
        texts=np.concatenate(texts)[first],
        targets=np.concatenate(targets)[first],
        lengths=counts / counts.sum(),
    )


def _hashed(values: pa.Array) -> npt.NDArray[np.uint64]:
    return hash_texts(values.fill_null("").cast(pa.binary()).to_pylist(), salt="")


def _divergence(now: FloatArray, before: FloatArray) -> float:
    return float(np.sum(now * np.log(now / before)))
