"""Pictures are drawn once, and cut off where matplotlib would, which draws them three times to know."""

import io
import re

import matplotlib
import pytest
from matplotlib.figure import Figure

from ml.page import show_title, svg

NUMBERS = re.compile(r'width="([\d.]+)pt" height="([\d.]+)pt"')


def drawn(names=("short", "a name that is long")):
    figure = Figure(figsize=(4, 3), dpi=72)
    axes = figure.subplots()
    axes.barh(range(len(names)), [1, 2], label="bars")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("how many")
    show_title(axes, "A title")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def size(text):
    return [float(number) for number in NUMBERS.search(text).groups()]


def test_nothing_that_is_drawn_is_cut_off_and_little_is_left_around_it():
    tight = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        drawn().savefig(tight, format="svg", bbox_inches="tight", pad_inches=0.1)
    assert size(svg(drawn())) == pytest.approx(size(tight.getvalue()), abs=5)


def test_the_same_figure_gives_the_same_text():
    assert svg(drawn()) == svg(drawn())
