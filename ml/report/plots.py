"""Draw the plots of the reports as inline SVG. Scores and targets have the shape [rows]."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ml.metrics import FloatArray, IntArray
from ml.page import BLUE, GREY, ORANGE, show_counts_in_logs, show_title, svg
from ml.records import Evaluation, HistoryEntry, Interval

COLOURS = {"candidate": BLUE, "champion": ORANGE, "baseline": GREY}
_DARK_SHARE = 0.65
_INCHES_PER_LAYER = 0.3
_HISTOGRAM_BINS = np.linspace(0, 1, 41)
_VERDICT_MARKERS = {
    "promote": ("^", "#3a8f6b"),
    "keep": ("o", GREY),
    "inconclusive": ("D", GREY),
    "blocked": ("X", "#b3372f"),
    "rollback": ("v", "#7a4fa3"),
}
_VALIDATION_FIGURES = {
    "average_precision": "average precision",
    "precision": "precision",
    "recall": "recall",
    "precision_at_recall_50": "precision at recall 0.5",
}


def precision_recall_plot(
    target: IntArray, scores: Mapping[str, FloatArray], evaluations: Mapping[str, Evaluation]
) -> Markup:
    """Draw a curve for each model, a dot at the model's own threshold, and a dashed line at the share of positives."""
    from sklearn.metrics import precision_recall_curve  # a second, and most pictures are others

    figure, axes = _axes("Precision and recall", "recall", "precision")
    for role, evaluation in evaluations.items():
        precisions, recalls, _ = precision_recall_curve(target, scores[role])
        label = f"{role}, average precision {evaluation.average_precision:.3f}"
        axes.plot(recalls, precisions, color=COLOURS[role], label=label, drawstyle="steps-post", linewidth=1.6)
        axes.plot(evaluation.recall, evaluation.precision, "o", color=COLOURS[role], markersize=8, markeredgecolor="w")
    axes.axhline(float(target.mean()), color=GREY, linestyle="--", linewidth=1, label="labels at random")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.03))
    axes.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 0.07))
    return svg(figure)


def histogram_plot(role: str, target: IntArray, scores: FloatArray, threshold: float) -> Markup:
    """Draw a histogram of the scores for each class, on a log scale, and a line at the threshold."""
    figure, axes = _axes(f"Scores of the {role}", "score", "rows (log scale)")
    for label, name, colour in ((0, "sincere", GREY), (1, "insincere", COLOURS[role])):
        axes.hist(scores[target == label], bins=_HISTOGRAM_BINS.tolist(), color=colour, alpha=0.65, label=name)
    axes.axvline(threshold, color="#1d2733", linestyle="--", linewidth=1, label=f"threshold {threshold:.3f}")
    show_counts_in_logs(axes)
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    return svg(figure)


def confusion_plot(role: str, evaluation: Evaluation) -> Markup:
    """Draw the confusion matrix, shaded by each count's share of its true class."""
    counts = np.array(
        [
            [evaluation.true_negatives, evaluation.false_positives],
            [evaluation.false_negatives, evaluation.true_positives],
        ]
    )
    shares = counts / counts.sum(axis=1, keepdims=True)
    figure, axes = _axes(f"Confusion matrix of the {role}", "label given", "true label")
    axes.imshow(shares, cmap="Blues" if role == "candidate" else "Oranges", vmin=0, vmax=1.2, aspect="auto")
    for row, column in np.ndindex(2, 2):
        text = f"{counts[row, column]:,}\n{shares[row, column]:.1%}"
        colour = "white" if shares[row, column] > _DARK_SHARE else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=12, color=colour)
    axes.set_xticks([0, 1], ["sincere", "insincere"])
    axes.set_yticks([0, 1], ["sincere", "insincere"])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return svg(figure)


def loss_plot(epochs: Sequence[Mapping[str, float]]) -> Markup:
    """Draw the mean training loss of each epoch."""
    figure, axes = _axes("On training rows", "epoch", "loss (nats)")
    axes.plot(_column(epochs, "epoch"), _column(epochs, "loss"), "o-", color=BLUE)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return svg(figure)


def validation_plot(epochs: Sequence[Mapping[str, float]]) -> Markup:
    """Draw the figures on the validation rows after each epoch."""
    figure, axes = _axes("On validation rows", "epoch", "figure")
    for name, colour in zip(_VALIDATION_FIGURES, (BLUE, ORANGE, "#3a8f6b", GREY), strict=True):
        axes.plot(_column(epochs, "epoch"), _column(epochs, name), "o-", color=colour, label=_VALIDATION_FIGURES[name])
    axes.set_ylim(0, 1.03)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return svg(figure)


def history_plot(entries: Sequence[HistoryEntry]) -> Markup:
    """Draw precision and recall of each judged version in the order of time, with a marker for its verdict.

    Runs without a change measured nothing and are left out.
    """
    judged = [entry for entry in entries if entry.verdict != "unchanged"]
    figure, axes = _axes("Precision and recall by version", "version", "on the test rows of its run")
    runs = range(len(judged))
    for name, colour in (("precision", BLUE), ("recall", ORANGE)):
        axes.plot(runs, [getattr(entry, name) for entry in judged], color=colour, linewidth=1.4, label=name)
    for verdict in sorted({entry.verdict for entry in judged}):
        shown = [run for run in runs if judged[run].verdict == verdict]
        figures = [[getattr(judged[run], name) for run in shown] for name in ("precision", "recall")]
        marker, colour = _VERDICT_MARKERS[verdict]
        axes.plot(shown, figures[0], marker, color=colour, markersize=8, label=verdict)
        axes.plot(shown, figures[1], marker, color=colour, markersize=8)
    axes.set_xticks(list(runs), [entry.version for entry in judged])
    axes.set_ylim(0, 1.03)
    axes.legend(frameon=False, fontsize=9, loc="lower left")
    return svg(figure)


def interval_plot(title: str, intervals: Mapping[str, Interval]) -> Markup:
    """Draw each difference as a dot on a bar between its bounds; right of 0 the candidate's figure is higher."""
    figure, axes = _axes(title, "candidate minus champion", "")
    places = range(len(intervals))
    for place, each in zip(places, intervals.values(), strict=True):
        colour = GREY if each.lower <= 0 <= each.upper else BLUE
        axes.plot([each.lower, each.upper], [place, place], color=colour, linewidth=2.5, solid_capstyle="round")
        axes.plot(each.difference, place, "o", color=colour, markersize=7, markeredgecolor="w")
    axes.axvline(0, color="#1d2733", linestyle="--", linewidth=1)
    axes.set_yticks(list(places), list(intervals))
    axes.invert_yaxis()
    return svg(figure)


def layers_plot(parameters: Mapping[str, int]) -> Markup:
    """Draw the classifier from input to output: one bar for each layer that has parameters."""
    counts = list(parameters.values())
    figure = Figure(figsize=(8, 1.2 + _INCHES_PER_LAYER * len(counts)))
    axes = figure.add_subplot()
    bars = axes.barh(range(len(counts)), counts, color=BLUE)
    axes.bar_label(bars, [f"{count:,}" for count in counts], padding=4)
    axes.set_yticks(range(len(counts)), list(parameters))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(counts))
    axes.set_xlabel("parameters")
    show_title(axes, f"{sum(counts):,} parameters, from the input (top) to the output")
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def _axes(title: str, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6, 4))
    axes = figure.add_subplot()
    show_title(axes, title, loc="left", fontsize=11, fontweight="bold")
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.grid(color="#e8edf1", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _column(epochs: Sequence[Mapping[str, float]], name: str) -> list[float]:
    return [epoch[name] for epoch in epochs]
