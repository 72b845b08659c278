"""The tab Data quality of a DAG: what the expectations found, run after run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from heapq import nlargest
from pathlib import Path
from typing import NamedTuple

from fastapi import Request
from fastapi.responses import Response
from markupsafe import Markup

from ml.errors import LineageError
from ml.records import DataQuality, Measured, ObservedCheck, from_json
from retraining.pages.access import RETRAINING, has_tag, model_of_dag
from retraining.pages.charts import Point, line_chart
from retraining.pages.layout import page
from retraining.pages.run_folder import records_of_runs
from retraining.pages.run_links import RunLinks
from retraining.pages.words import day, short_day

_RUNS = 30
_STEPS = ("validate", "split")  # each keeps what its expectations found
_GROUPS = {
    "data_docs": "The file",
    "data_docs_change": "The change since the champion's file",
    "data_docs_splits": "The splits",
}
_DRAWN = ("data_docs", "data_docs_change")  # the splits follow from the file
_STATES = {"passed": ("passed", "good"), "critical": ("failed", "bad"), "warning": ("warned", "warn")}


class QualityRun(NamedTuple):
    """A run with what its steps found, by Data Docs and name of the expectation."""

    run_id: str
    time: str
    rows: int
    checks: Mapping[tuple[str, str], ObservedCheck]


class Trend(NamedTuple):
    """A figure over time."""

    name: str
    column: str
    last: str
    required: str
    colour: str
    chart: Markup


def quality_page(request: Request, dag_id: str) -> Response:
    """Show the expectations of the newest 30 runs as a grid, and their figures as lines."""
    if not has_tag(dag_id, RETRAINING):
        return page(request, "foreign.html.jinja", dag_id=dag_id, title="Data quality")
    links = RunLinks(request, dag_id)
    reports = records_of_runs(model_of_dag(dag_id))
    folders = [folder for folder in reports.glob("*/data_quality") if not links.of_another(folder.parent.name)]
    runs = read_runs(folders, most=_RUNS)
    newest_first = runs[::-1]
    return page(
        request,
        "quality.html.jinja",
        dag_id=dag_id,
        runs=newest_first,
        groups=[(title, _grid(newest_first, docs)) for docs, title in _GROUPS.items() if _names(runs, docs)],
        trends=list(_trends(runs)),
        links={run.run_id: links.of(run.run_id) for run in runs},
        folders={run.run_id: links.folder(run.run_id) for run in runs},
        state=state,
        day=day,
        short_day=short_day,
    )


def state(check: ObservedCheck) -> tuple[str, str]:
    """Return what became of an expectation, in a word, and its colour."""
    return _STATES["passed"] if check.check.passed else _STATES.get(check.check.severity, ("noted", "none"))


def read_runs(folders: Iterable[Path], *, most: int) -> Sequence[QualityRun]:
    """Return the runs that were checked last, oldest first; what cannot be read is left out."""
    newest = nlargest(most, _times(folders))
    runs = [run for _, folder in newest for run in _read_run(Path(folder))]
    return sorted(runs, key=lambda run: run.time)


def _times(folders: Iterable[Path]) -> Iterator[tuple[int, str]]:
    for folder in folders:
        with suppress(OSError):
            yield folder.stat().st_mtime_ns, str(folder)


def _read_run(folder: Path) -> Iterator[QualityRun]:
    found = [quality for step in _STEPS for quality in _read(folder / f"{step}.json")]
    for first in found[:1]:
        checks = {(each.docs, each.check.name): each for quality in found for each in quality.checks}
        yield QualityRun(folder.parent.name, first.time, first.rows, checks)


def _read(path: Path) -> Iterator[DataQuality]:
    with suppress(OSError, UnicodeDecodeError, LineageError):
        yield from_json(path.read_text(encoding="utf-8"), DataQuality)


def _names(runs: Iterable[QualityRun], docs: str) -> Sequence[str]:
    """Return the expectations of these Data Docs, in the order of their suite."""
    return list(dict.fromkeys(name for run in runs for its, name in run.checks if its == docs))


def _grid(runs: Sequence[QualityRun], docs: str) -> Sequence[tuple[str, Sequence[tuple[QualityRun, object]]]]:
    return [(name, [(run, run.checks.get((docs, name), False)) for run in runs]) for name in _names(runs, docs)]


def _trends(runs: Sequence[QualityRun]) -> Iterator[Trend]:
    for docs in _DRAWN:
        for name in _names(runs, docs):
            found = [(run, run.checks[docs, name]) for run in runs if (docs, name) in run.checks]
            measured = [(run, each) for run, each in found if isinstance(each.value, Measured)]
            if measured:
                yield _trend(measured)


def _trend(measured: Sequence[tuple[QualityRun, ObservedCheck]]) -> Trend:
    last = measured[-1][1]
    points = tuple(_point(run, check) for run, check in measured)
    chart = line_chart(
        f"{last.check.name}, run after run",
        tuple(short_day(run.time) for run, _ in measured),
        points,
        size=(300, 110),
        form="{:,.4g}",
    )
    return Trend(last.check.name, last.check.column, last.check.observed, last.required, state(last)[1], chart)


def _point(run: QualityRun, check: ObservedCheck) -> Point:
    assert isinstance(check.value, Measured)
    value, (word, colour) = check.value.value, state(check)
    text = f"{day(run.time)}: {check.check.observed}, {word}"
    return Point(value, value, value, text, "series-1" if check.check.passed else colour)
