"""Curves and bars of a run's page, as numbers for SVG; the colours are the page's own variables."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ml.records import Curves, Evaluation, Interval

WIDTH, HEIGHT = 460, 300
_LEFT, _BOTTOM, _TOP, _RIGHT = 40, 34, 8, 10
_BAR = 200


class Curve(NamedTuple):
    """A model's curve: the points of a polyline, and the dot at its own threshold, in pixels from the top left."""

    role: str
    points: str
    x: float
    y: float
    average_precision: float


class Bar(NamedTuple):
    """An interval on a line of 200 pixels; `sure` says that 0 is not in it."""

    interval: Interval
    start: float
    length: float
    dot: float
    zero: float
    sure: bool


def curves_of(curves: Curves, evaluations: Mapping[str, Evaluation]) -> Sequence[Curve]:
    """Return the precision-recall curve of each model."""
    return [
        Curve(
            role=role,
            points=" ".join(
                f"{across(recall):.1f},{up(each):.1f}"
                for recall, each in zip(curves.recall, curves.precision.get(role, ()), strict=False)
            ),
            x=across(figures.recall),
            y=up(figures.precision),
            average_precision=figures.average_precision,
        )
        for role, figures in evaluations.items()
    ]


def across(recall: float) -> float:
    """Return how far from the left a recall is."""
    return round(_LEFT + recall * (WIDTH - _LEFT - _RIGHT), 1)


def up(precision: float) -> float:
    """Return how far from the top a precision is."""
    return round(_TOP + (1 - precision) * (HEIGHT - _TOP - _BOTTOM), 1)


def bars_of(intervals: Mapping[str, Interval]) -> Mapping[str, Sequence[Bar]]:
    """Return a bar for each interval, all on the same scale, each as a list of one."""
    ends = [0.0, *(end for each in intervals.values() for end in (each.lower, each.upper))]
    low, span = min(ends), (max(ends) - min(ends)) or 1.0

    def place(value: float) -> float:
        return round((value - low) / span * _BAR, 1)

    return {
        name: [
            Bar(
                interval=each,
                start=place(each.lower),
                length=max(1.0, round(place(each.upper) - place(each.lower), 1)),
                dot=place(each.difference),
                zero=place(0),
                sure=not each.lower <= 0 <= each.upper,
            )
        ]
        for name, each in intervals.items()
    }
