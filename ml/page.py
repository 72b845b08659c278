"""The layout that all report pages share: one HTML file that contains its pictures, readable offline."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, Template
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import NullLocator
from matplotlib.transforms import Bbox

from ml.store.files import write_whole

BLUE, ORANGE, GREY = "#2f6fb3", "#d9822b", "#8a94a0"
_POINTS_PER_INCH = 72  # an SVG's unit is the point
_POINTS_AROUND = 7.2
_SIZE = re.compile(r'width="[^"]*" height="[^"]*" viewBox="[^"]*"')

_TEMPLATE = Path(__file__).with_name("page.html.jinja")
_BOXES = """{% for section in sections %}<section><h2>{{ section.heading }}</h2>
{% if section.note %}<p class="note">{{ section.note }}</p>{% endif %}{{ section.body }}</section>
{% endfor %}"""
_NOTHING = Markup()


@dataclass(frozen=True, kw_only=True)
class Section:
    """One box of a page; `body` is HTML that is already escaped."""

    heading: str
    body: Markup
    note: str = ""


def write_page(path: Path, *, title: str, lead: str, sections: Sequence[Section], below: Markup = _NOTHING) -> None:
    """Write a page atomically; what is `below` the sections was rendered by `boxes`."""
    template = _compiled(_TEMPLATE.read_text(encoding="utf-8"), trim_blocks=False)
    write_whole(path, template.render(title=title, lead=lead, boxes=boxes(sections) + below))


def boxes(sections: Sequence[Section]) -> Markup:
    """Render sections as they stand on a page."""
    return Markup(_compiled(_BOXES, trim_blocks=False).render(sections=sections))  # noqa: S704, escaped there


def fragment(template: str, **values: object) -> Markup:
    """Render a piece of HTML from a Jinja template; every value is escaped."""
    return Markup(_compiled(template, trim_blocks=True).render(**values))  # noqa: S704, escaped above


@cache
def _compiled(template: str, *, trim_blocks: bool) -> Template:
    return Environment(autoescape=True, trim_blocks=trim_blocks).from_string(template)


def show_title(axes: Axes, title: str, **how: Any) -> None:
    """Put a title right above the axes; matplotlib would look for its place by measuring all that is drawn."""
    axes.set_title(title, y=1, **how)


def show_counts_in_logs(axes: Axes) -> None:
    """Put the counts on a log scale, with plain numbers at the powers of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_minor_locator(NullLocator())


def svg(figure: Figure) -> Markup:
    """Return the figure as inline SVG, cut off around its axes and texts; the same figure gives the same text."""
    figure.dpi = _POINTS_PER_INCH
    with matplotlib.rc_context({"svg.hashsalt": "sincere", "svg.fonttype": "none"}):
        buffer = io.StringIO()
        renderer = _Renderer(*figure.bbox.size, buffer, metadata={"Date": None})
        figure.draw(renderer)
        renderer.finalize()  # type: ignore[no-untyped-call]
    drawn = Bbox.union([axes.bbox for axes in figure.axes] + renderer.texts).padded(_POINTS_AROUND)
    text = buffer.getvalue()
    return Markup(_SIZE.sub(_size_of(drawn, figure.bbox.height), text[text.index("<svg") :], count=1))  # noqa: S704, matplotlib escapes its texts


class _Renderer(RendererSVG):
    """Draws, and keeps the boxes of the texts: to ask matplotlib for them afterwards takes longer than to draw."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)  # type: ignore[no-untyped-call]
        self.texts: list[Bbox] = []

    def draw_text(self, *arguments: Any, **named: Any) -> None:
        super().draw_text(*arguments, **named)  # type: ignore[no-untyped-call]
        text = named.get("mtext")  # of several lines there is none: they are within the axes
        if isinstance(text, Text):
            self.texts.append(text.get_window_extent(self))


def _size_of(box: Bbox, height: float) -> str:
    """An SVG counts from the top, and matplotlib from the bottom."""
    across, down = (f"{size:.2f}" for size in (box.width, box.height))
    return f'width="{across}pt" height="{down}pt" viewBox="{box.x0:.2f} {height - box.y1:.2f} {across} {down}"'
