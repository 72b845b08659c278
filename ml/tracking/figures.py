"""Tables and pictures of an evaluation, from what the store holds: the same record, the same bytes, and no question."""

import numpy as np
from sklearn.metrics import precision_recall_curve

from ml.config import PolicyConfig
from ml.judge.evidence import slice_members
from ml.judge.row_scores import Scores, read_scores, read_texts
from ml.judge.statistics import BoolArray
from ml.metrics import IntArray
from ml.records import Comparison, Evaluation
from ml.report import plots
from ml.report.figures import RATES, columns_by_role, evaluations_by_role
from ml.store import Store
from ml.tracking.tables import Table

CURVE_POINTS = 200


def evaluation_tables(store: Store, comparison: Comparison, policy: PolicyConfig) -> dict[str, Table]:
    """Figures side by side, precision-recall curves, confusion counts, and the figures on each slice."""
    scores = read_scores(store, comparison)
    roles = columns_by_role(comparison)
    slices = slice_members(read_texts(store, comparison), policy)
    return {
        "figures": Table(
            columns=("figure", *roles),
            rows=[(name, *(getattr(each, field) for each in roles.values())) for name, field in RATES.items()],
        ),
        "precision_recall": _curves(scores),
        "confusion": _confusion(evaluations_by_role(comparison)),
        "slices": Table(
            columns=("slice", "model", "rows", "insincere", "precision", "recall", "F1"),
            rows=[
                (name, role, *_slice_figures(scores.target[rows], (scores.by_model[role] >= each.threshold)[rows]))
                for name, rows in slices.items()
                for role, each in evaluations_by_role(comparison).items()
            ],
        ),
    }


def pictures(store: Store, comparison: Comparison) -> dict[str, str]:
    """Precision-recall curves and confusion matrices, as SVG by file name."""
    scores = read_scores(store, comparison)
    curves = plots.precision_recall_plot(scores.target, scores.by_model, columns_by_role(comparison))
    matrices = {
        f"confusion_{role}.svg": str(plots.confusion_plot(role, evaluation))
        for role, evaluation in evaluations_by_role(comparison).items()
    }
    return {"precision_recall.svg": str(curves), **matrices}


def _curves(scores: Scores) -> Table:
    """At most `CURVE_POINTS` points of each model's curve, evenly spread over its thresholds."""
    rows: list[tuple[str, float, float]] = []
    for role, of_role in scores.by_model.items():
        precisions, recalls, _ = precision_recall_curve(scores.target, of_role)
        shown = np.unique(np.linspace(0, len(recalls) - 1, CURVE_POINTS).astype(int))
        rows += [(role, float(recalls[point]), float(precisions[point])) for point in shown]
    return Table(columns=("model", "recall", "precision"), rows=rows)


def _confusion(evaluations: dict[str, Evaluation]) -> Table:
    cells = {
        ("insincere", "insincere"): "true_positives",
        ("sincere", "insincere"): "false_positives",
        ("insincere", "sincere"): "false_negatives",
        ("sincere", "sincere"): "true_negatives",
    }
    return Table(
        columns=("model", "true label", "label given", "rows"),
        rows=[
            (role, *cell, getattr(each, field)) for role, each in evaluations.items() for cell, field in cells.items()
        ],
    )


def _slice_figures(target: IntArray, labels: BoolArray) -> tuple[int, int, float, float, float]:
    """Rows, positives, precision, recall and F1; a figure of no rows is 0."""
    true_positives, flagged, positives = int(target[labels].sum()), int(labels.sum()), int(target.sum())
    precision, recall = true_positives / max(flagged, 1), true_positives / max(positives, 1)
    return len(target), positives, precision, recall, 2 * true_positives / max(flagged + positives, 1)
