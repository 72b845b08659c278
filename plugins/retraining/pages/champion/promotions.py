"""The tab Promotions of a DAG: who is champion, since when, how good, how sure, and every decision."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import HTTPException, Request
from fastapi.responses import Response
from markupsafe import Markup

from ml.records import ChampionFigures, HistoryEntry
from ml.store import Store
from retraining.pages.access import RETRAINING, has_tag, model_of_dag
from retraining.pages.champion.answer import Away, ask_registry
from retraining.pages.champion.decisions import (
    JUDGED,
    WORDS,
    FreshFigures,
    NobodyYet,
    Reign,
    Share,
    champion_before,
    grounds,
    matches,
    reign_of,
)
from retraining.pages.champion.place import History, place_of
from retraining.pages.charts import Point, line_chart
from retraining.pages.layout import page
from retraining.pages.run_links import RunLinks
from retraining.pages.words import day, short_day

_ROWS = 50
_FIGURES = 26
_DRAWN = 40

COLOURS = {"promote": "good", "inconclusive": "warn", "blocked": "bad", "rollback": "special"}


def promotions_page(request: Request, dag_id: str, q: str = "", number: int = 1) -> Response:
    """Show the champion, its figures over time, and the decisions in which all words of `q` occur, 50 a page."""
    if not has_tag(dag_id, RETRAINING):
        return page(request, "foreign.html.jinja", dag_id=dag_id, title="Promotions")
    place = place_of(model_of_dag(dag_id))
    answer, store = ask_registry(place), Store(place.home / "store")
    links = RunLinks(request, dag_id)
    reign = reign_of(answer.history, store, most=_FIGURES)
    found = [entry for entry in reversed(answer.history) if matches(entry, q.lower().split())]
    return page(
        request,
        "promotions.html.jinja",
        dag_id=dag_id,
        away=answer if isinstance(answer, Away) else False,
        reign=reign if isinstance(reign, Reign) else False,
        fresh_charts=_fresh_charts(reign),
        alarms=alarms(answer.history, store),
        by_version=_by_version_chart(answer.history),
        rows=[_row(entry, links) for entry in _of_page(found, number)],
        q=q,
        found=len(found),
        all=len(answer.history),
        pages=_pages(len(found), number, q),
        words=WORDS,
        colours=COLOURS,
        day=day,
    )


def alarms(history: History, store: Store) -> Sequence[str]:
    """Return the alarms of the newest decision on a candidate, if this store has its grounds."""
    judged = [entry for entry in history if entry.verdict in JUDGED][-1:]
    return [alarm for entry in judged for decision in grounds(entry, store) for alarm in decision.alarms]


def _of_page(found: Sequence[HistoryEntry], number: int) -> Sequence[HistoryEntry]:
    if number < 1:
        raise HTTPException(404)
    return found[(number - 1) * _ROWS : number * _ROWS]


def _pages(found: int, number: int, q: str) -> Mapping[str, str]:
    """Return the addresses of the pages beside this one, by their names."""
    last = -(-found // _ROWS)
    beside = {"newer": number - 1, "older": number + 1}
    return {
        name: f"?{urlencode({'q': q, 'number': other})}#decisions"
        for name, other in beside.items()
        if 1 <= other <= last
    }


def _row(entry: HistoryEntry, links: RunLinks) -> Mapping[str, Any]:
    watch = entry.watch if isinstance(entry.watch, ChampionFigures) else None
    judged = entry.verdict in JUDGED
    return {
        "time": entry.time,
        "day": day(entry.time),
        "verdict": entry.verdict,
        "version": entry.version,
        "before": champion_before(entry),
        "precision": entry.precision if judged else False,
        "recall": entry.recall if judged else False,
        "its_precision": watch.precision if watch else False,
        "its_recall": watch.recall if watch else False,
        "reason": entry.reason,
        "by": entry.triggered_by,
        "why": links.of(entry.run_id),
    }


def _fresh_charts(reign: Reign | NobodyYet) -> Mapping[str, Markup]:
    if isinstance(reign, NobodyYet):
        return {}
    labels = tuple(short_day(figures.entry.time) for figures in reign.figures)
    points = {
        "Precision": tuple(_fresh_point(figures, figures.precision, "series-1") for figures in reign.figures),
        "Recall": tuple(_fresh_point(figures, figures.recall, "series-2") for figures in reign.figures),
    }
    return {
        name: line_chart(f"{name} of {reign.version} on fresh rows", labels, line, size=(420, 190))
        for name, line in points.items()
    }


def _fresh_point(figures: FreshFigures, share: Share, colour: str) -> Point:
    value, low, high = share
    interval = f" ({low:.3f} to {high:.3f})" if low < high else ""
    return Point(value, low, high, f"{_date(figures.entry)}: {value:.3f}{interval}", colour)


def _by_version_chart(history: History) -> Markup:
    judged = [entry for entry in history if entry.verdict in JUDGED][-_DRAWN:]
    lines = [tuple(_judged_point(entry, figure) for entry in judged) for figure in ("precision", "recall")]
    labels = tuple(entry.version for entry in judged)
    return line_chart("Precision and recall by version", labels, *lines, size=(1160, 230))


def _judged_point(entry: HistoryEntry, figure: str) -> Point:
    value = getattr(entry, figure)
    text = f"{entry.version}, {WORDS[entry.verdict]}: {figure} {value:.3f}, {_date(entry)}"
    return Point(value, value, value, text, COLOURS.get(entry.verdict, "none"), entry.verdict == "promote")


def _date(entry: HistoryEntry) -> str:
    return entry.time[:10]
