"""The page about the data: results of the expectations, label counts, lengths in words and in characters."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ml.data import text_measures
from ml.data.expectations import Finding
from ml.page import BLUE, ORANGE, Section, fragment, svg, write_page

WHOLE_DOCS, CHANGE_DOCS, SPLITS_DOCS = "data_docs", "data_docs_change", "data_docs_splits"

_HEADINGS = {
    WHOLE_DOCS: "Expectations of the whole file",
    CHANGE_DOCS: "Expectations of the change since the champion's file",
    SPLITS_DOCS: "Expectations of the splits",
}

_MOST_LABELS = 10
_SHOWN_QUANTILE = 0.995
_FIGURE_INCHES = (4.2, 3.0)
_FIGURES = """<div class=figures style="grid-template-columns: repeat(3, 1fr)">
{% for figure in figures %}<div>{{ figure }}</div>{% endfor %}</div>"""
_FINDINGS = """<table><tr><th></th><th>expectation</th><th>column</th><th>observed</th><th>required</th>
<th>severity</th></tr>
{% for finding in findings %}<tr>
<td class={{ "good" if finding.check.passed else "bad" }}>{{ "holds" if finding.check.passed else "fails" }}</td>
<td>{{ finding.check.name }}{% if not finding.check.passed %}<div class=note>{{ finding.note }}</div>{% endif %}</td>
<td>{{ finding.check.column }}</td><td>{{ finding.check.observed }}</td><td>{{ finding.required }}</td>
<td>{{ finding.check.severity }}</td></tr>
{% endfor %}</table><p><a href="{{ docs }}">Data Docs of Great Expectations</a></p>"""


def write_exploration(
    path: Path,
    *,
    findings: Mapping[str, Sequence[Finding]],
    tables: Sequence[tuple[str, pa.Table]],
    note: str = "",
) -> None:
    """Write a page with the findings, each group under the folder of its Data Docs, then the plots of each table.

    A group without findings has no section. The plots of a missing column are left out. `note` is added to the lead.
    """
    everything = [finding for some in findings.values() for finding in some]
    failed = sum(not finding.check.passed for finding in everything)
    lead = f"{len(everything) - failed} of {len(everything)} expectations hold. {note}".strip()
    checked = [findings_section(_HEADINGS[docs], docs, some) for docs, some in findings.items() if some]
    pictures = [_section(name, table) for name, table in tables]
    write_page(path, title="The questions", lead=lead, sections=[*checked, *pictures])


def findings_section(heading: str, docs: str, findings: Sequence[Finding]) -> Section:
    """Return a section with a line for each expectation, and a link to the folder `docs` of its Data Docs."""
    return Section(heading=heading, body=fragment(_FINDINGS, findings=findings, docs=f"{docs}/index.html"))


def _section(name: str, table: pa.Table) -> Section:
    figures: list[Figure] = []
    if "target" in table.column_names:
        figures.append(_label_counts(table["target"]))
    if "question_text" in table.column_names:
        insincere = _insincere(table)
        figures.append(_lengths(text_measures.words(table["question_text"]), insincere, "words"))
        figures.append(_lengths(text_measures.characters(table["question_text"]), insincere, "characters"))
    body = fragment(_FIGURES, figures=[svg(figure) for figure in figures])
    return Section(heading=name, body=body, note=f"{table.num_rows:,} rows")


def _insincere(table: pa.Table) -> np.ndarray:
    """Return whether the target of each row is 1: bool, shape [rows]."""
    if "target" not in table.column_names or not pa.types.is_integer(table["target"].type):
        return np.zeros(table.num_rows, dtype=bool)
    return np.asarray(pc.fill_null(pc.equal(table["target"], 1), False).to_numpy())


def _label_counts(targets: pa.ChunkedArray) -> Figure:
    counts = sorted(targets.value_counts().to_pylist(), key=lambda count: -count["counts"])[:_MOST_LABELS]
    counts.sort(key=lambda count: str(count["values"]))
    names = [_label_name(str(count["values"])) for count in counts]
    figure = Figure(figsize=_FIGURE_INCHES)
    axes = figure.subplots()
    colours = [ORANGE if name.startswith("1 ") else BLUE for name in names]
    bars = axes.bar(range(len(names)), [count["counts"] for count in counts], color=colours, width=0.6)
    axes.set_xticks(range(len(names)), names)
    axes.bar_label(bars, fmt="{:,.0f}", padding=2)
    axes.set_yscale("log")
    axes.set_ylim(bottom=max(0.5, min(count["counts"] for count in counts) / 10))
    axes.margins(y=0.15)
    _finish(axes, title="Labels", x="label", y="rows (log scale)")
    return figure


def _label_name(value: str) -> str:
    """What stands under its bar: any text may be in the file, and none is set as mathematics or as a control code."""
    shown = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in value[:20])
    return {"0": "0 sincere", "1": "1 insincere"}.get(shown, shown.replace("$", r"\$"))


def _lengths(lengths: pa.ChunkedArray, insincere: np.ndarray, unit: str) -> Figure:
    """Draw histograms of both classes, each with the area 1; the last bin contains the longest 0.5 % of the texts."""
    values = pc.fill_null(lengths, 0).to_numpy()
    end = max(10, int(np.quantile(values, _SHOWN_QUANTILE)))
    edges = list(range(0, end + 2, max(1, end // 60)))
    figure = Figure(figsize=_FIGURE_INCHES)
    axes = figure.subplots()
    for label, rows, colour in (("sincere", ~insincere, BLUE), ("insincere", insincere, ORANGE)):
        if rows.any():
            clipped = np.minimum(values[rows], edges[-1])
            axes.hist(clipped, bins=edges, density=True, histtype="stepfilled", alpha=0.45, color=colour, label=label)
    axes.legend(frameon=False, loc="upper right")
    _finish(axes, title=f"Length in {unit}", x=f"{unit} (median {np.median(values):.0f})", y="share of the class")
    return figure


def _finish(axes: Axes, *, title: str, x: str, y: str) -> None:
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
