"""Charts are safe and plain SVG, with lxml and without it, which Airflow's image lacks."""

import re

import pytest
from pygal.etree import etree
from retraining.pages.charts import Point, line_chart

POINTS = (
    Point(0.5, 0.4, 0.6, "first <b>", "good"),
    Point(0.7, 0.7, 0.7, "second", "warn", solid=False),
)


@pytest.fixture(params=["lxml", "standard library"])
def library(request: pytest.FixtureRequest) -> None:
    line_chart.cache_clear()
    if request.param == "standard library":
        etree.to_etree()
    yield
    etree.to_lxml()
    line_chart.cache_clear()


def test_each_point_has_its_colour_and_says_what_it_is(library: None) -> None:
    drawing = line_chart("Precision", ("a", "b"), POINTS, size=(400, 200))
    assert "fill: var(--good); stroke: var(--good)" in drawing
    assert "fill: var(--card); stroke: var(--warn)" in drawing
    assert "<title>first &lt;b&gt;</title>" in drawing
    assert drawing.count('class="ci"') == 1


def test_a_drawing_brings_no_script_no_style_and_no_comment(library: None) -> None:
    drawing = line_chart("Precision", ("a", "b"), POINTS, size=(400, 200))
    assert [part for part in ("<script", "<style", "<!--", "<?xml", "ns0:") if part in drawing] == []


def test_names_are_text(library: None) -> None:
    drawing = line_chart('"><script>', ("<i>", "b"), POINTS, size=(400, 200))
    assert [part for part in ("<script>", "<i>") if part in drawing] == []


@pytest.mark.parametrize(
    ("value", "form"), [(0.7194, "{:.2f}"), (0.0, "{:.2f}"), (0.0619, "{:,.4g}"), (1_306_122.0, "{:,.4g}")]
)
def test_no_axis_says_the_same_twice(value: float, form: str) -> None:
    points = tuple(Point(value + step / 10_000, value, value, "run", "good") for step in range(4))
    days = ("24 Nov", "24 Nov", "25 Nov", "25 Nov")
    drawing = line_chart("Precision", days, points, size=(420, 190), form=form)
    names = [name for name in re.findall("<text[^>]*>([^<]*)</text>", drawing) if name]
    assert len(names) >= 4
    assert len(set(names)) == len(names)
