"""Verdict and history as plain text for a terminal, at most 100 columns wide."""

import textwrap
from collections.abc import Iterable, Sequence

from ml.records import AbsentChampion, Champion, Comparison, Decision, Evaluation, FoundChampion, Promotion
from ml.registry import CHAMPION_ALIAS, HistoryEntry

_WIDTH = 100
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


def verdict_text(comparison: Comparison, decision: Decision, outcome: Promotion | HistoryEntry) -> str:
    """The verdict, a line for each check, the figures side by side, what became of the alias, and the report."""
    checks = [(" ✓" if check.passed else " ✗", check.rule, check.observed, check.required) for check in decision.checks]
    header = ("", *(_column_name(role, decision.champion) for role in columns_by_role(comparison)))
    figures = [header, *((name, *values) for name, values in figure_rows(comparison))]
    return "\n".join(
        [
            textwrap.fill(f"{decision.verdict.upper()}: {decision.reason}", _WIDTH),
            "",
            *_aligned(checks, numbers_from=len(checks[0])),
            "",
            *_aligned(figures, numbers_from=1),
            "",
            f"{CHAMPION_ALIAS}: {_outcome(outcome)}",
            f"report: reports/{comparison.report}",
        ]
    )


def history_text(entries: Iterable[HistoryEntry]) -> str:
    """One line for each decision that was carried out, oldest first."""
    header = ("time", "verdict", "version", "champion before", "precision", "recall", "F1", "av. precision")
    rows = [
        (
            entry.time,
            entry.verdict,
            entry.version,
            champion_name(entry.previous),
            *(f"{figure:.4f}" for figure in (entry.precision, entry.recall, entry.f1, entry.average_precision)),
        )
        for entry in entries
    ]
    return "\n".join(_aligned([header, *rows], numbers_from=4)) if rows else "no decision was carried out yet"


def evaluations_by_role(comparison: Comparison) -> dict[str, Evaluation]:
    """The candidate's and, where there is one, the champion's."""
    if isinstance(comparison.rival, AbsentChampion):
        return {"candidate": comparison.candidate}
    return {"candidate": comparison.candidate, "champion": comparison.rival.evaluation}


def columns_by_role(comparison: Comparison) -> dict[str, Evaluation]:
    """All that was measured: the models, then the baseline."""
    return {**evaluations_by_role(comparison), "baseline": comparison.baseline}


def figure_rows(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Each figure's name and its value in each column, ready to print."""
    evaluations = columns_by_role(comparison).values()
    return [
        *((name, [f"{getattr(each, field):.4f}" for each in evaluations]) for name, field in RATES.items()),
        *((name, [f"{getattr(each, field):,}" for each in evaluations]) for name, field in _COUNTS.items()),
    ]


def champion_name(champion: Champion) -> str:
    """Its version, or "none"."""
    return champion.version if isinstance(champion, FoundChampion) else "none"


def _column_name(role: str, champion: Champion) -> str:
    return f"champion {champion_name(champion)}" if role == "champion" else role


def _outcome(outcome: Promotion | HistoryEntry) -> str:
    before = champion_name(outcome.previous)
    if outcome.promoted:
        return f"{outcome.version} (before: {before})"
    return f"{before}, as before (the candidate is version {outcome.version})"


def _aligned(rows: Sequence[Sequence[str]], *, numbers_from: int) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index >= numbers_from else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
