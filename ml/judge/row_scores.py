"""Store the scores behind a comparison: with them, its report can be drawn and its candidate judged again."""

import hashlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fingerprint import code_version
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


def scores_of(store: Store, model: str, test: str, score: Callable[[], FloatArray]) -> FloatArray:
    """Return a model's scores on the test rows, [rows]; an evaluation that is cut off later finds them again.

    They are kept by the digests of model and rows, and by the version of the code, until `forget_scores`.
    """
    name = _name(model, test)
    if not store.contains("scores", name):
        with store.staging() as folder:
            _save(folder / "scores.npy", score())
            store.commit(folder, "scores", name)
    scores: FloatArray = np.load(store.open("scores", name) / "scores.npy", allow_pickle=False)
    return scores


def _save(path: Path, scores: FloatArray) -> None:
    """Write a file as np.save does, which hides behind an error of its own that the disk is full."""
    content = io.BytesIO()
    np.save(content, scores, allow_pickle=False)
    path.write_bytes(content.getvalue())


def forget_scores(store: Store, models: Iterable[str], test: str) -> None:
    """Drop what `scores_of` kept, so that the next evaluation measures anew."""
    for model in models:
        store.drop("scores", _name(model, test))


def _name(model: str, test: str) -> str:
    return hashlib.sha256(f"{model} {test} {code_version()}".encode()).hexdigest()


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
