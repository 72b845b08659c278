"""Format the registry's history as a table for a terminal."""

from collections.abc import Sequence

from ml.records import Answer, ChampionFigures, ChampionUnmeasured, HistoryEntry
from ml.report.figures import aligned, champion_name


def history_text(entries: Sequence[HistoryEntry]) -> str:
    """Format each entry as one line, oldest first; a second line tells the reason where a person decided.

    The columns `its precision` and `its recall` are figures of the champion before, on the same test rows.
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
    title, *lines = aligned([header, *rows], numbers_from=4)
    return "\n".join([title, *(_with_reason(line, entry) for line, entry in zip(lines, entries, strict=True))])


def _watched(figures: ChampionFigures | ChampionUnmeasured) -> tuple[str, str]:
    if isinstance(figures, ChampionUnmeasured):
        return "none", "none"
    return f"{figures.precision:.4f}", f"{figures.recall:.4f}"


def _with_reason(line: str, entry: HistoryEntry) -> str:
    told = entry.verdict == "rollback" or isinstance(entry.approval, Answer)
    return f"{line}\n    {entry.reason} ({entry.triggered_by})" if told else line
