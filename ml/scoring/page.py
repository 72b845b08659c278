"""The page of a scoring: the expectations of the watch, and the distributions beside those of training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ml.data.expectations.findings import Finding
from ml.data.questions_page import findings_section
from ml.page import BLUE, GREY, Section, fragment, show_title, svg, write_page
from ml.records import Histogram, KnownProfile, Profile, Scoring
from ml.scoring.watch import SCORES_DOCS

_FIGURE_INCHES = (5.2, 3.2)
_SHARES = """<table><tr><th></th><th class=number>these questions</th><th class=number>training</th></tr>
{% for name, now, then in shares %}<tr><td>{{ name }}</td><td class=number>{{ now }}</td>
<td class=number>{{ then }}</td></tr>{% endfor %}</table>"""
_PICTURES = "<div class=figures>{% for picture in pictures %}<div>{{ picture }}</div>{% endfor %}</div>"
_UNKNOWN = "The champion was trained before models kept what their rows were like: there is nothing to compare with."


def write_scoring_page(path: Path, scoring: Scoring, findings: Sequence[Finding]) -> None:
    """Write the page; it has counts only, no text and no row."""
    now = scoring.now
    lead = (
        f"Champion {scoring.champion.version} scored {now.rows:,} questions of {scoring.source}; "
        f"{now.flagged:,} have a probability of {scoring.threshold:.4f} or more. Scored rows: {scoring.output}."
    )
    sections = [_shares(now, scoring.then)]
    if findings:
        sections.insert(0, findings_section("Are they like those of training?", SCORES_DOCS, findings))
    if isinstance(scoring.then, Profile):
        sections.append(_distributions(now, scoring.then))
    write_page(path, title="The scored questions", lead=lead, sections=sections)


def _shares(now: Profile, then: KnownProfile) -> Section:
    rows = [
        (name, *(_share(profile, key) for profile in (now, then)))
        for name, key in (("flagged", "flagged"), ("without text", "empty"), ("wrongly decoded", "damaged"))
    ]
    note = "" if isinstance(then, Profile) else _UNKNOWN
    return Section(heading="Shares of the rows", body=fragment(_SHARES, shares=rows), note=note)


def _share(profile: KnownProfile, key: str) -> str:
    if not isinstance(profile, Profile):
        return "unknown"
    return f"{getattr(profile, key) / profile.rows:.2%} of {profile.rows:,}"


def _distributions(now: Profile, then: Profile) -> Section:
    pictures = [
        svg(_bars(now.scores, then.scores, title="Scores", unit="probability", form="{:.2g}")),
        svg(_bars(now.lengths, then.lengths, title="Lengths of the texts", unit="characters", form="{:.0f}")),
    ]
    note = "A bin has a tenth of training's rows; training's are the champion's validation rows."
    return Section(heading="Distributions", body=fragment(_PICTURES, pictures=pictures), note=note)


def _bars(now: Histogram, then: Histogram, *, title: str, unit: str, form: str) -> Figure:
    figure = Figure(figsize=_FIGURE_INCHES)
    axes = figure.subplots()
    places = np.arange(len(now.counts))
    for each, shift, label, colour in ((then, -0.2, "training", GREY), (now, 0.2, "these questions", BLUE)):
        shares = np.asarray(each.counts) / max(1, sum(each.counts))
        axes.bar(places + shift, 100 * shares, width=0.4, color=colour, label=label)
    axes.set_xticks(places[1:] - 0.5, [form.format(edge) for edge in now.edges], fontsize=8)
    show_title(axes, title)
    axes.set(xlabel=f"{unit}, edges of the bins", ylabel="% of the rows")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.25)  # for the legend
    axes.legend(frameon=False, fontsize=9, loc="upper right", ncols=2)
    return figure
