"""The history as a page shows it: one row a decision, and the champion with its figures on fresh rows."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

from ml.errors import LineageError
from ml.records import (
    ChampionFigures,
    Comparison,
    Decision,
    Evaluation,
    HistoryEntry,
    ModelVersion,
    Rival,
    from_json,
)
from ml.store import Store
from retraining.pages.champion.place import History

JUDGED = ("promote", "inconclusive", "keep", "blocked")
_Z95 = 1.959964  # a standard normal variable is within it 95 % of the time

WORDS = {
    "promote": "promoted",
    "inconclusive": "inconclusive",
    "keep": "kept",
    "blocked": "blocked",
    "unchanged": "unchanged",
    "rollback": "rolled back",
}


class Share(NamedTuple):
    """A share in [0, 1] with its 95 % interval; where the rows were not counted, the interval is the share alone."""

    value: float
    low: float
    high: float


class FreshFigures(NamedTuple):
    """The figures of a version on rows that it was not trained on, in one run."""

    entry: HistoryEntry
    rows: int
    precision: Share
    recall: Share


@dataclass(frozen=True, kw_only=True)
class Reign:
    """The champion: its version, the move that made it champion, and its figures in each run, oldest first."""

    version: str
    move: HistoryEntry
    figures: Sequence[FreshFigures]


class NobodyYet(NamedTuple):
    """No decision has made a champion."""


def share(hits: int, of: int) -> Share:
    """Return a share with Wilson's 95 % score interval."""
    if of == 0:
        return Share(0.0, 0.0, 0.0)
    value, z2 = hits / of, _Z95**2
    middle = (value + z2 / (2 * of)) / (1 + z2 / of)
    half = _Z95 * sqrt(value * (1 - value) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    return Share(value, max(0.0, middle - half), min(1.0, middle + half))


def reign_of(history: History, store: Store, *, most: int) -> Reign | NobodyYet:
    """Return the champion with at most so many of its newest figures."""
    moves = [entry for entry in history if entry.promoted]
    if not moves:
        return NobodyYet()
    version = moves[-1].version
    measured = [entry for entry in history if _measures(entry, version)][-most:]
    return Reign(version=version, move=moves[-1], figures=[_figures(entry, version, store) for entry in measured])


def grounds(entry: HistoryEntry, store: Store) -> Iterator[Decision]:
    """Yield the decision behind an entry, if this store has it."""
    with suppress(LineageError, OSError, UnicodeDecodeError):
        yield from_json((store.open("decisions", entry.decision) / "decision.json").read_text("utf-8"), Decision)


def matches(entry: HistoryEntry, words: Sequence[str]) -> bool:
    """Say whether each of the words, in lower case, is in what a person sees of the entry."""
    verdict = f"{entry.verdict} {WORDS.get(entry.verdict, '')}"
    seen = (entry.time, verdict, entry.version, champion_before(entry), entry.run_id, entry.reason, entry.triggered_by)
    told = " ".join(seen).lower()
    return all(word in told for word in words)


def champion_before(entry: HistoryEntry) -> str:
    """Return the version that was champion before."""
    return entry.previous.version if isinstance(entry.previous, ModelVersion) else "none"


def _measures(entry: HistoryEntry, version: str) -> bool:
    """Say whether the entry's run measured this version: as its candidate, or as the champion of then."""
    if entry.verdict == "promote" and entry.version == version:
        return True
    return isinstance(entry.watch, ChampionFigures) and entry.watch.version == version


def _figures(entry: HistoryEntry, version: str, store: Store) -> FreshFigures:
    for comparison in _comparison(entry, store):
        return _counted(entry, _evaluation(comparison, version))
    told = entry.watch if isinstance(entry.watch, ChampionFigures) and entry.watch.version == version else entry
    rows = told.rows if isinstance(told, ChampionFigures) else 0
    return FreshFigures(entry, rows, _alone(told.precision), _alone(told.recall))


def _comparison(entry: HistoryEntry, store: Store) -> Iterator[Comparison]:
    for decision in grounds(entry, store):
        with suppress(LineageError, OSError, UnicodeDecodeError):
            path = store.open("comparisons", decision.comparison) / "comparison.json"
            yield from_json(path.read_text("utf-8"), Comparison)


def _evaluation(comparison: Comparison, version: str) -> Evaluation:
    match comparison.rival:
        case Rival(champion=ModelVersion(version=its), evaluation=evaluation) if its == version:
            return evaluation
    return comparison.candidate


def _counted(entry: HistoryEntry, found: Evaluation) -> FreshFigures:
    hits = found.true_positives
    return FreshFigures(
        entry,
        found.rows,
        share(hits, hits + found.false_positives),
        share(hits, hits + found.false_negatives),
    )


def _alone(value: float) -> Share:
    return Share(value, value, value)
