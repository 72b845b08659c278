"""The layout that all report pages share: one HTML file that contains its pictures, readable offline."""

import io
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
from matplotlib.ticker import NullLocator

from ml.store.files import write_whole

BLUE, ORANGE, GREY = "#2f6fb3", "#d9822b", "#8a94a0"
_POINTS_PER_INCH = 72  # an SVG's unit is the point
_INCHES_AROUND = 0.1

_TEMPLATE = Path(__file__).with_name("page.html.jinja")


@dataclass(frozen=True, kw_only=True)
class Section:
    """One box of a page; `body` is HTML that is already escaped."""

    heading: str
    body: Markup
    note: str = ""


def write_page(path: Path, *, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write a page atomically."""
    template = _compiled(_TEMPLATE.read_text(encoding="utf-8"), trim_blocks=False)
    write_whole(path, template.render(title=title, lead=lead, sections=sections))


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
    """Return the figure as inline SVG; the same figure gives the same text.

    What is cut off around it is what `bbox_inches="tight"` would, which draws the figure once more to know.
    """
    figure.dpi = _POINTS_PER_INCH
    with matplotlib.rc_context({"svg.hashsalt": "sincere", "svg.fonttype": "none"}):
        buffer = io.StringIO()
        renderer = RendererSVG(*figure.bbox.size, io.StringIO())  # type: ignore[no-untyped-call]
        around = figure.get_tightbbox(renderer).padded(_INCHES_AROUND)
        figure.savefig(buffer, format="svg", bbox_inches=around, metadata={"Date": None})
    text = buffer.getvalue()
    return Markup(text[text.index("<svg") :])  # noqa: S704, matplotlib escapes its texts
