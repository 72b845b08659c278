"""Charts as SVG in the page, drawn by pygal; their colours are the page's variables, their texts HTML's own."""

import sys
from collections.abc import Sequence
from functools import lru_cache
from math import inf
from typing import Any, NamedTuple

import pygal
from markupsafe import Markup
from pygal.etree import etree  # lxml where it is installed
from pygal.style import Style

# It leaves a finder of old plugins behind, about which each later import that fails would warn.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

_LABEL_WIDTH, _SMALL = 70, 150
_WIDENINGS = 30


class Point(NamedTuple):
    """A value with its interval; `text` is shown when it is pointed at, `colour` is a CSS variable of the dot's line.

    A dot that is not `solid` is a ring.
    """

    value: float
    low: float
    high: float
    text: str
    colour: str
    solid: bool = True


@lru_cache(maxsize=512)
def line_chart(
    title: str, labels: tuple[str, ...], *lines: tuple[Point, ...], size: tuple[int, int], form: str = "{:.2f}"
) -> Markup:
    """Draw each line, a dot a point; `labels` name the places on the x-axis, `form` formats the values beside it.

    No axis says the same twice: of equal labels the first one stands, and the values have room to be told apart.
    """
    names = [label if label != before else "" for before, label in zip(("", *labels), labels, strict=False)]
    chart = pygal.Line(
        **_look(size),
        x_labels=names,
        x_labels_major=list(filter(None, names))[:: max(1, -(-len(labels) * _LABEL_WIDTH // size[0]))],
        range=_range([point for line in lines for point in line], form),
        value_formatter=form.format,
        title=None,
    )
    for points in lines:
        chart.add(title, [_value(point) for point in points])
    return _inline(chart.render_tree(), title, lines)


def _look(size: tuple[int, int]) -> dict[str, Any]:
    width, height = size
    return {
        "style": Style(colors=("currentColor",) * 8),
        "width": width,
        "height": height,
        "css": [],
        "js": [],
        "explicit_size": False,
        "show_legend": False,
        "show_minor_x_labels": False,
        "truncate_label": 12,
        "include_x_axis": False,
        "margin": 6,
        "margin_right": 26,
        "spacing": 6,
        "dots_size": 3.5 if height > _SMALL else 2.5,
        "min_scale": 3,
        "max_scale": 5,
        "no_data_text": "nothing to draw yet",
    }


def _range(points: Sequence[Point], form: str) -> tuple[float, float] | None:
    if not points:
        return None
    low, high = min(point.low for point in points), max(point.high for point in points)
    room = (high - low) * 0.1 or abs(high) * 0.1 or 0.1
    bottom = 0.0 if low >= 0 else -inf
    low, high = max(bottom, low - room), high + room
    for _ in range(_WIDENINGS):
        if _has_names(low, high, form):
            break
        low, high = max(bottom, low - (high - low) / 2), high + (high - low) / 2
    return low, high


def _has_names(low: float, high: float, form: str) -> bool:
    """Say whether places at each tenth of the range have names of their own."""
    places = [low + (high - low) * tenth / 10 for tenth in range(11)]
    return len(set(map(form.format, places))) == len(places)


def _value(point: Point) -> dict[str, Any]:
    interval = {} if point.low == point.high else {"ci": {"low": point.low, "high": point.high}}
    return {"value": point.value, **interval}


def _inline(root: Any, title: str, series: Sequence[Sequence[Point]]) -> Markup:
    """Return the drawing for a page: no script, no style of its own; each dot has its colour and says what it is."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in ("script", "style", "title", "desc") or not isinstance(child.tag, str):
                parent.remove(child)
    root.attrib.pop("id", None)
    root.set("role", "img")
    root.set("aria-label", title)
    for number, points in enumerate(series):
        dots = root.findall(f".//*[@class='series serie-{number} color-{number}']//*[@class='dots']")
        for group, point in zip(dots, points, strict=False):
            _tell(group, point)
    return Markup(etree.tostring(root, encoding="unicode"))  # noqa: S704, the tree is serialized, its texts escaped


def _tell(group: Any, point: Point) -> None:
    for circle in group.iter("circle"):
        fill = point.colour if point.solid else "card"
        circle.set("style", f"fill: var(--{fill}); stroke: var(--{point.colour})")
        etree.SubElement(circle, "title").text = point.text
