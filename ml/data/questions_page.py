"""The page about the data: results of the expectations, label counts, lengths in words and in characters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ml.data.expectations.findings import Finding
from ml.data.text_measures import CHARACTERS, WORDS
from ml.page import BLUE, ORANGE, Section, fragment, show_counts_in_logs, show_title, svg, write_page

IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]

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


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What the page shows of some rows.

    `labels` has values and their counts, or is empty without the column target; `lengths` are by unit, int [rows], and
    there are none without texts; `insincere` is [rows].
    """

    name: str
    labels: Sequence[Mapping[str, Any]]
    lengths: Mapping[str, IntArray]
    insincere: BoolArray

    @classmethod
    def of(cls, name: str, targets: pa.ChunkedArray, lengths: Mapping[str, IntArray]) -> "Questions":
        """Count the labels; `targets` may be of any type, and is of the type null where the column is missing."""
        insincere = (
            np.asarray(pc.fill_null(pc.equal(targets, 1), False).to_numpy())
            if pa.types.is_integer(targets.type)
            else np.zeros(len(targets), np.bool_)
        )
        labels = [] if pa.types.is_null(targets.type) else targets.value_counts().to_pylist()
        return cls(name=name, labels=labels, lengths=lengths, insincere=insincere)


def describe(name: str, rows: pa.Table) -> Questions:
    """The questions of a table with the measures of their texts; columns may be missing; the length of a null is 0."""
    targets = rows["target"] if "target" in rows.column_names else pa.chunked_array([pa.nulls(rows.num_rows)])
    measures = {"words": WORDS, "characters": CHARACTERS}
    lengths = {
        unit: pc.fill_null(rows[column], 0).to_numpy()
        for unit, column in measures.items()
        if column in rows.column_names
    }
    return Questions.of(name, targets, lengths)


def write_exploration(
    path: Path,
    *,
    findings: Mapping[str, Sequence[Finding]],
    questions: Sequence[Questions],
    note: str = "",
) -> None:
    """Write a page with the findings, each group under the folder of its Data Docs, then the plots of the questions.

    A group without findings has no section. The plots of a missing column are left out. `note` is added to the lead.
    """
    everything = [finding for some in findings.values() for finding in some]
    failed = sum(not finding.check.passed for finding in everything)
    lead = f"{len(everything) - failed} of {len(everything)} expectations hold. {note}".strip()
    checked = [findings_section(_HEADINGS[docs], docs, some) for docs, some in findings.items() if some]
    pictures = [_section(some) for some in questions]
    write_page(path, title="The questions", lead=lead, sections=[*checked, *pictures])


def findings_section(heading: str, docs: str, findings: Sequence[Finding]) -> Section:
    """Return a section with a line for each expectation, and a link to the folder `docs` of its Data Docs."""
    return Section(heading=heading, body=fragment(_FINDINGS, findings=findings, docs=f"{docs}/index.html"))


def _section(questions: Questions) -> Section:
    figures = [_label_counts(questions.labels)] if questions.labels else []
    figures += [_lengths(lengths, questions.insincere, unit) for unit, lengths in questions.lengths.items()]
    body = fragment(_FIGURES, figures=[svg(figure) for figure in figures])
    return Section(heading=questions.name, body=body, note=f"{len(questions.insincere):,} rows")


def _label_counts(labels: Sequence[Mapping[str, Any]]) -> Figure:
    counts = sorted(labels, key=lambda count: -count["counts"])[:_MOST_LABELS]
    counts.sort(key=lambda count: str(count["values"]))
    names = [_label_name(str(count["values"])) for count in counts]
    figure = Figure(figsize=_FIGURE_INCHES)
    axes = figure.subplots()
    colours = [ORANGE if name.startswith("1 ") else BLUE for name in names]
    bars = axes.bar(range(len(names)), [count["counts"] for count in counts], color=colours, width=0.6)
    axes.set_xticks(range(len(names)), names)
    axes.bar_label(bars, fmt="{:,.0f}", padding=2)
    show_counts_in_logs(axes)
    axes.set_ylim(bottom=max(0.5, min(count["counts"] for count in counts) / 10))
    axes.margins(y=0.15)
    _finish(axes, title="Labels", x="label", y="rows (log scale)")
    return figure


def _label_name(value: str) -> str:
    """What stands under its bar: any text may be in the file, and none is set as mathematics or as a control code."""
    shown = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in value[:20])
    return {"0": "0 sincere", "1": "1 insincere"}.get(shown, shown.replace("$", r"\$"))


def _lengths(values: IntArray, insincere: BoolArray, unit: str) -> Figure:
    """Draw histograms of both classes, each with the area 1; the last bin contains the longest 0.5 % of the texts."""
    end = max(10, int(np.quantile(values, _SHOWN_QUANTILE)))
    edges = list(range(0, end + 2, max(1, end // 60)))
    figure = Figure(figsize=_FIGURE_INCHES)
    axes = figure.subplots()
    for label, rows, colour in (("sincere", ~insincere, BLUE), ("insincere", insincere, ORANGE)):
        if rows.any():
            counts = np.bincount(np.minimum(values[rows], edges[-1]), minlength=edges[-1] + 1)
            axes.hist(
                np.arange(len(counts)),
                bins=edges,
                weights=counts,
                density=True,
                histtype="stepfilled",
                alpha=0.45,
                color=colour,
                label=label,
            )
    axes.legend(frameon=False, loc="upper right")
    _finish(axes, title=f"Length in {unit}", x=f"{unit} (median {np.median(values):.0f})", y="share of the class")
    return figure


def _finish(axes: Axes, *, title: str, x: str, y: str) -> None:
    show_title(axes, title)
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
