"""Verdict and history as plain text for a terminal, at most 100 columns wide."""

import textwrap
from collections.abc import Sequence

from ml.records import (
    AbsentChampion,
    Champion,
    ChampionFigures,
    Change,
    Comparison,
    Contamination,
    Decision,
    Evaluation,
    FoundChampion,
    Promotion,
    RuleCheck,
)
from ml.registry import CHAMPION_ALIAS, HistoryEntry

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


def verdict_text(comparison: Comparison, decision: Decision, promotion: Promotion) -> str:
    """The verdict, a line for each check, the figures side by side, what became of the alias, and the report."""
    header = ("", *(_column_name(role, decision.champion) for role in columns_by_role(comparison)))
    figures = [header, *((name, *values) for name, values in figure_rows(comparison))]
    return "\n".join(
        [
            textwrap.fill(_headline(decision.verdict, decision.reason, dry_run=promotion.dry_run), WIDTH),
            "",
            *check_lines(decision.checks),
            "",
            *_watch_lines(comparison, decision),
            *_aligned(figures, numbers_from=1),
            "",
            f"{CHAMPION_ALIAS}: {_outcome(promotion)}",
            f"report: reports/{comparison.report}",
        ]
    )


def unchanged_text(change: Change, *, dry_run: bool) -> str:
    """What a run without any change says instead of a verdict."""
    return "\n".join(
        [
            textwrap.fill(_headline("unchanged", change.reason, dry_run=dry_run), WIDTH),
            "",
            "Nothing was trained. To train all the same: --force, or the DAG's Param `force`.",
            f"{CHAMPION_ALIAS}: {champion_name(change.champion)}, as before",
        ]
    )


def history_text(entries: Sequence[HistoryEntry]) -> str:
    """One line for each decision that was carried out, oldest first; below a rollback, why and by whom.

    `its precision` and `its recall` are of the champion before, on the same test rows.
    """
    figures = ("precision", "recall", "F1", "av. precision", "its precision", "its recall")
    header = ("time", "verdict", "version", "champion before", *figures)
    rows = [
        (
            entry.time,
            entry.verdict,
            entry.version,
            champion_name(entry.previous),
            *(f"{figure:.4f}" for figure in (entry.precision, entry.recall, entry.f1, entry.average_precision)),
            *_watched(entry.watch),
        )
        for entry in entries
    ]
    if not rows:
        return "no decision was carried out yet"
    title, *lines = _aligned([header, *rows], numbers_from=4)
    return "\n".join([title, *(_with_reason(line, entry) for line, entry in zip(lines, entries, strict=True))])


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


def data_warnings(comparison: Comparison) -> str:
    """Which expectations of the data failed, and where more is said."""
    return f"expectations of the data that failed: {', '.join(comparison.warnings)}; see exploration.html"


def champion_name(champion: Champion) -> str:
    """Its version, or "none"."""
    return champion.version if isinstance(champion, FoundChampion) else "none"


def _watched(figures: ChampionFigures | AbsentChampion) -> tuple[str, str]:
    if isinstance(figures, AbsentChampion):
        return "none", "none"
    return f"{figures.precision:.4f}", f"{figures.recall:.4f}"


def _with_reason(line: str, entry: HistoryEntry) -> str:
    return f"{line}\n    {entry.reason} ({entry.triggered_by})" if entry.verdict == "rollback" else line


def _column_name(role: str, champion: Champion) -> str:
    return f"champion {champion_name(champion)}" if role == "champion" else role


def _watch_lines(comparison: Comparison, decision: Decision) -> list[str]:
    """Alarms, warnings, and test rows that were left out because the champion may know them; mostly nothing."""
    lines = [f"ALARM: {alarm}" for alarm in decision.alarms]
    if comparison.warnings:
        lines += textwrap.wrap(f"WARNING: {data_warnings(comparison)}", WIDTH)
    contamination = None if isinstance(comparison.rival, AbsentChampion) else comparison.rival.contamination
    if isinstance(contamination, Contamination) and contamination.rows:
        lines.append(f"{contamination.rows:,} test rows may have been in the champion's training: they were left out")
    return [*lines, ""] if lines else []


def _headline(verdict: str, reason: str, *, dry_run: bool) -> str:
    return f"{'DRY RUN, ' if dry_run else ''}{verdict.upper()}: {reason}"


def check_lines(checks: Sequence[RuleCheck]) -> list[str]:
    """A line for each check: tick or cross, rule, what was observed, what was required."""
    lines = [(" ✓" if check.passed else " ✗", check.rule, check.observed, check.required) for check in checks]
    return _aligned(lines, numbers_from=len(lines[0]))


def _outcome(promotion: Promotion) -> str:
    before = champion_name(promotion.previous)
    if promotion.dry_run:
        return f"{before}, as before (a dry run writes nothing to the registry)"
    if promotion.promoted:
        return f"{promotion.version} (before: {before})"
    return f"{before}, as before (the candidate is version {promotion.version})"


def _aligned(rows: Sequence[Sequence[str]], *, numbers_from: int) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index >= numbers_from else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
