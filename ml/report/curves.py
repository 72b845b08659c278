"""Precision-recall curves as a few figures, for a page that draws them itself."""

from collections.abc import Iterable

import numpy as np

from ml.judge.row_scores import Scores
from ml.records import Curves

_RECALLS = np.linspace(0, 1, 101)


def curves_of(scores: Scores, roles: Iterable[str]) -> Curves:
    """Return the precision of each model at a hundred recalls; `scores` has targets and scores of shape [rows]."""
    from sklearn.metrics import precision_recall_curve  # a second, and a page that is drawn already has its curves

    precision = {}
    for role in roles:
        precisions, recalls, _ = precision_recall_curve(scores.target, scores.by_model[role])
        at = np.searchsorted(recalls[::-1], _RECALLS)
        precision[role] = tuple(np.round(precisions[::-1][at], 4).tolist())
    return Curves(recall=tuple(_RECALLS.round(2).tolist()), precision=precision)
