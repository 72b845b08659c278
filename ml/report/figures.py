"""Format the figures of a comparison and other rows as text tables, at most 100 characters wide."""

from collections.abc import Sequence

from ml.records import Champion, Comparison, Evaluation, ModelVersion, Rival, RuleCheck

WIDTH = 100
RATES = {
    "precision": "precision",
    "recall": "recall",
    "F1": "f1",
    "average precision": "average_precision",
    "precision at recall 0.5": "precision_at_recall_50",
    "ROC AUC": "roc_auc",
    "log loss": "log_loss",
    "calibration error": "calibration_error",
    "threshold": "threshold",
}
_COUNTS = {
    "true positives": "true_positives",
    "false positives": "false_positives",
    "false negatives": "false_negatives",
    "true negatives": "true_negatives",
}


def evaluations_by_role(comparison: Comparison) -> dict[str, Evaluation]:
    """Return the candidate's evaluation and, if there is a champion, the champion's."""
    candidate = {"candidate": comparison.candidate}
    return candidate | ({"champion": comparison.rival.evaluation} if isinstance(comparison.rival, Rival) else {})


def columns_by_role(comparison: Comparison) -> dict[str, Evaluation]:
    """Return all evaluations: the models' evaluations, then the baseline's."""
    return {**evaluations_by_role(comparison), "baseline": comparison.baseline}


def figure_rows(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Return for each figure its name and its formatted value in each column."""
    evaluations = columns_by_role(comparison).values()
    return [
        *((name, [f"{getattr(each, field):.4f}" for each in evaluations]) for name, field in RATES.items()),
        *((name, [f"{getattr(each, field):,}" for each in evaluations]) for name, field in _COUNTS.items()),
    ]


def data_warnings(comparison: Comparison) -> str:
    """Say which expectations of the data failed, and on which page to read more."""
    return f"expectations of the data that failed: {', '.join(comparison.warnings)}; see exploration.html"


def champion_name(champion: Champion) -> str:
    """Return the champion's version, or "none" if there is no champion."""
    return champion.version if isinstance(champion, ModelVersion) else "none"


def aligned(rows: Sequence[Sequence[str]], *, numbers_from: int) -> list[str]:
    """Format each row as one line; columns from `numbers_from` on are aligned to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index >= numbers_from else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def check_lines(checks: Sequence[RuleCheck]) -> list[str]:
    """Format each check as one line: tick or cross, rule, observed value, required value."""
    lines = [(" ✓" if check.passed else " ✗", check.rule, check.observed, check.required) for check in checks]
    return aligned(lines, numbers_from=len(lines[0]))
