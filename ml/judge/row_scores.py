"""Store the scores behind a comparison: with them, its report can be drawn and its candidate judged again."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.metrics import FloatArray, IntArray
from ml.records import Comparison, digest, to_json
from ml.store import Store


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The test rows in their stored order, with the scores of each model.

    `by_model` has the keys "candidate", "baseline" and, if there is a champion, "champion".
    All arrays have the shape [rows].
    """

    qid: npt.NDArray[np.str_]
    target: IntArray
    by_model: dict[str, FloatArray]


def keep_scores(store: Store, comparison: Comparison, scores: Scores) -> None:
    """Store the comparison with its scores, under the comparison's digest."""
    arrays: dict[str, Any] = {"qid": scores.qid, "target": scores.target, **scores.by_model}
    with store.staging() as folder:
        np.savez_compressed(folder / "scores.npz", **arrays)
        (folder / "comparison.json").write_text(to_json(comparison), encoding="utf-8")
        store.commit(folder, "comparisons", digest(comparison))


def read_scores(store: Store, comparison: Comparison) -> Scores:
    """Read the stored scores; raises LineageError if the comparison is not in the store."""
    folder = store.open("comparisons", digest(comparison))
    with np.load(folder / "scores.npz", allow_pickle=False) as arrays:
        models = [name for name in ("candidate", "champion", "baseline") if name in arrays]
        return Scores(qid=arrays["qid"], target=arrays["target"], by_model={model: arrays[model] for model in models})


def read_texts(store: Store, comparison: Comparison) -> list[str]:
    """Read the questions of the test rows, in the order of the scores."""
    rows = pd.read_parquet(store.open("splits", comparison.candidate.test) / "rows.parquet", columns=["question_text"])
    return list(rows["question_text"])
