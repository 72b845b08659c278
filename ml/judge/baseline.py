"""Train the baseline that a candidate must beat: TF-IDF and logistic regression, fitted to the same rows in a minute.

So a fine-tuning that collapsed, or that learnt only which words occur, is never promoted.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from ml.metrics import FloatArray
from ml.model.threshold import choose_threshold
from ml.records import Splits, digest

_VERSION = "tf-idf of words and pairs, logistic regression, 1"
_INVERSE_REGULARISATION = 5.0
_MAX_FEATURES = 200_000


@dataclass(frozen=True)
class Baseline:
    """A fitted pipeline with its decision threshold."""

    pipeline: Pipeline
    threshold: float

    def score(self, texts: Sequence[str]) -> FloatArray:
        """Return probabilities, float32 [texts]."""
        return _score(self.pipeline, texts)


def train_baseline(train: pd.DataFrame, validation: pd.DataFrame, *, positive_rate: float) -> Baseline:
    """Fit the pipeline to the training rows, and choose its threshold on the validation rows.

    Both tables have the columns question_text and target.
    """
    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=_MAX_FEATURES, dtype=np.float32),
        LogisticRegression(C=_INVERSE_REGULARISATION, solver="liblinear", max_iter=1000, random_state=0),
    )
    pipeline.fit(train["question_text"], train["target"])
    scores = _score(pipeline, validation["question_text"].tolist())
    labels = validation["target"].to_numpy(np.float32)
    return Baseline(pipeline, choose_threshold(labels, scores, positive_rate=positive_rate))


def baseline_digest(splits: Splits, positive_rate: float) -> str:
    """Return the digest of the baseline's inputs; its files are never stored, equal inputs give equal baselines."""
    return hashlib.sha256(f"{_VERSION}\0{digest(splits)}\0{positive_rate!r}".encode()).hexdigest()


def _score(pipeline: Pipeline, texts: Sequence[str]) -> FloatArray:
    return np.asarray(pipeline.predict_proba(texts)[:, 1], np.float32)
