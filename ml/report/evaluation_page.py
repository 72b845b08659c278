"""Write the evaluation report: one page, made from what is in the store, with or without a decision."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from ml.judge.kept_decisions import evidence_of
from ml.judge.row_scores import Scores, read_scores
from ml.metrics import row_losses
from ml.page import Section, boxes, fragment, write_page
from ml.records import Comparison, Decision, Evidence, NoEvidence, digest
from ml.report import plots
from ml.report.curves import curves_of
from ml.report.figures import RATES, columns_by_role, data_warnings, evaluations_by_role, figure_rows
from ml.run import Run
from ml.store import Store

WORST_MISTAKES = 20
_END = "</main></body></html>"  # of a page

_VERDICT = """
<p class="verdict {{ 'good' if decision.verdict == 'promote' else 'bad' if decision.verdict == 'blocked' else '' }}">
{{ decision.verdict }}</p><p>{{ decision.reason }}</p>
{% for remark in decision.remarks %}
<p>Remark: {{ remark }}</p>
{% endfor %}
<table><tr><th></th><th>rule</th><th>observed</th><th>required</th></tr>
{% for check in decision.checks %}
<tr><td class="{{ 'good' if check.passed else 'bad' }}">{{ '✓' if check.passed else '✗' }}</td>
<td>{{ check.rule }}</td><td>{{ check.observed }}</td><td>{{ check.required }}</td></tr>
{% endfor %}</table>
"""
_FIGURES = """
<div class="figures"><div><table><tr><th></th>{% for role in roles %}<th class="number">{{ role }}</th>{% endfor %}</tr>
{% for name, values in rows %}
<tr><td>{{ name }}</td>{% for value in values %}<td class="number">{{ value }}</td>{% endfor %}</tr>
{% endfor %}</table></div><div>{{ curves }}</div></div>
"""
_INTERVALS = """
<div class="figures"><div><table><tr><th></th><th class="number">difference</th><th class="number">at least</th>
<th class="number">at most</th></tr>
{% for name, each in rows.items() %}
<tr><td>{{ name }}</td>{% for value in (each.difference, each.lower, each.upper) %}
<td class="number">{{ '%+.4f' | format(value) }}</td>{% endfor %}</tr>
{% endfor %}</table></div><div>{{ plot }}</div></div>
"""
_SLICES = """
<table><tr><th>slice</th><th class="number">rows</th><th class="number">insincere</th>
<th class="number">difference in F1</th><th class="number">at least</th><th class="number">at most</th></tr>
{% for name, each in slices.items() %}
<tr><td>{{ name }}</td><td class="number">{{ '{:,}'.format(each.rows) }}</td>
<td class="number">{{ '{:,}'.format(each.positives) }}</td>
{% if each.f1 is defined %}{% for value in (each.f1.difference, each.f1.lower, each.f1.upper) %}
<td class="number">{{ '%+.4f' | format(value) }}</td>{% endfor %}
{% else %}<td class="number" colspan="3">too few to tell</td>{% endif %}</tr>
{% endfor %}</table>
"""
_PICTURES = """<div class="figures">{% for picture in pictures %}<div>{{ picture }}</div>{% endfor %}</div>"""
_MODEL = """<div>{{ plot }}</div><details><summary>All layers</summary><pre>{{ summary }}</pre></details>"""
_MISTAKES = """
<table><tr><th class="number">loss</th><th class="number">score</th><th>label</th><th>question</th></tr>
{% for row in rows %}
<tr><td class="number">{{ '%.2f' | format(row.loss) }}</td><td class="number">{{ '%.4f' | format(row.score) }}</td>
<td>{{ 'insincere' if row.target else 'sincere' }}</td><td>{{ row.question_text }}</td></tr>
{% endfor %}</table>
"""


def write_evaluation_page(run: Run, comparison: Comparison, *decided: Decision) -> None:
    """Write `evaluation.html` into the run's reports; with a decision, the page begins with its verdict and evidence.

    What the page has shown of the comparison before the decision stays on it, and is not drawn again. Equal inputs give
    equal pages.
    """
    page, candidate = run.report_folder / "evaluation.html", comparison.candidate
    lead = f"Run {run.run_id}: {candidate.rows:,} test rows, {candidate.positives:,} of them insincere"
    write_page(
        page,
        title="Evaluation",
        lead=f"{lead}; {data_warnings(comparison)}" if comparison.warnings else lead,
        sections=[section for decision in decided for section in _decision_sections(run.store, decision)],
        below=(decided and _shown_before(page, comparison)) or _measured(run, comparison),
    )


def _shown_before(page: Path, comparison: Comparison) -> Markup:
    """Return what the page shows of this comparison: nothing if it is not there, or is about another one."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    _, mark, shown = text.partition(_mark(comparison))
    return Markup(mark + shown.removesuffix(_END))  # noqa: S704, rendered by `_measured`


def _mark(comparison: Comparison) -> str:
    return f"<!-- comparison {digest(comparison)} -->\n"


def _measured(run: Run, comparison: Comparison) -> Markup:
    """Draw what was measured, and keep the curves for the run's page in Airflow's UI."""
    scores = read_scores(run.store, comparison)
    run.keep_for_page(curves_of(scores, columns_by_role(comparison)))
    sections = [
        _figures_section(comparison, scores),
        _scores_section(comparison, scores),
        _confusion_section(comparison),
        _training_section(run.store, comparison),
        _model_section(run.store, comparison),
        _mistakes_section(run.store, comparison, scores),
    ]
    return Markup(_mark(comparison)) + boxes(sections)  # noqa: S704, a digest


def _decision_sections(store: Store, decision: Decision) -> tuple[Section, ...]:
    verdict = Section(heading="Verdict", body=fragment(_VERDICT, decision=decision))
    return (verdict, *_evidence_sections(evidence_of(store, decision)))


def _evidence_sections(evidence: Evidence | NoEvidence) -> tuple[Section, ...]:
    """Show how sure the differences are, on all rows and on slices; there are no sections without a champion."""
    if isinstance(evidence, NoEvidence):
        return ()
    intervals = {name: evidence.figures[figure] for name, figure in RATES.items() if figure in evidence.figures}
    plot = plots.interval_plot("Differences and their bounds", intervals)
    return (
        Section(
            heading="How sure the differences are",
            body=fragment(_INTERVALS, rows=intervals, plot=plot),
            note=_certainty_note(evidence),
        ),
        Section(
            heading="Slices",
            body=fragment(_SLICES, slices=evidence.slices),
            note="The difference in F1 on groups of questions; a fall that is surely beyond its bound blocks.",
        ),
    )


def _certainty_note(evidence: Evidence) -> str:
    return (
        f"Candidate minus champion; each bound by itself holds with {evidence.confidence:.4g} confidence"
        f" ({evidence.resamples:,} draws of the test rows, paired, by class). For log loss and calibration error lower"
        f" is better. The candidate alone labels {evidence.candidate_alone_right:,} questions right, the champion alone"
        f" {evidence.champion_alone_right:,}: McNemar's exact test gives p = {evidence.mcnemar_p:.3g}."
    )


def _figures_section(comparison: Comparison, scores: Scores) -> Section:
    roles = columns_by_role(comparison)
    curves = plots.precision_recall_plot(scores.target, scores.by_model, roles)
    return Section(
        heading="Side by side",
        body=fragment(_FIGURES, roles=roles, rows=figure_rows(comparison), curves=curves),
        note="Scored in one process on the same test rows, each model at its own threshold: the dot on its curve."
        " The baseline is TF-IDF with logistic regression, trained on the candidate's rows.",
    )


def _scores_section(comparison: Comparison, scores: Scores) -> Section:
    histograms = [
        plots.histogram_plot(role, scores.target, scores.by_model[role], evaluation.threshold)
        for role, evaluation in evaluations_by_role(comparison).items()
    ]
    return _pictures("Scores", "Rows by score and true label; what is right of the threshold is flagged.", *histograms)


def _confusion_section(comparison: Comparison) -> Section:
    matrices = [plots.confusion_plot(role, evaluation) for role, evaluation in evaluations_by_role(comparison).items()]
    return _pictures("Confusion matrices", "Percentages are of the rows with that true label.", *matrices)


def _training_section(store: Store, comparison: Comparison) -> Section:
    epochs = _read_training(store, comparison)["epochs"]
    note = f"The candidate, epoch by epoch, labels at threshold 0.5; epoch {comparison.trained.best_epoch} was kept."
    return _pictures("Training", note, plots.loss_plot(epochs), plots.validation_plot(epochs))


def _model_section(store: Store, comparison: Comparison) -> Section:
    summary = (store.open("trainings", comparison.trained.model) / "summary.txt").read_text(encoding="utf-8")
    plot = plots.layers_plot(_read_training(store, comparison)["layers"])
    body = fragment(_MODEL, summary=summary, plot=plot)
    return Section(heading="Model", body=body, note=f"Encoder: {comparison.trained.encoder}")


def _read_training(store: Store, comparison: Comparison) -> Any:
    folder = store.open("trainings", comparison.trained.model)
    return json.loads((folder / "training.json").read_text(encoding="utf-8"))


def _mistakes_section(store: Store, comparison: Comparison, scores: Scores) -> Section:
    rows = pd.read_parquet(store.open("splits", comparison.candidate.test) / "rows.parquet")
    rows = rows.assign(score=scores.by_model["candidate"])
    rows["loss"] = row_losses(scores.target, scores.by_model["candidate"])
    mistaken = rows[(rows["score"] >= comparison.candidate.threshold) != (rows["target"] == 1)]
    worst = mistaken.iloc[np.argsort(-mistaken["loss"].to_numpy(), kind="stable")[:WORST_MISTAKES]]
    return Section(
        heading="Worst mistakes of the candidate",
        body=fragment(_MISTAKES, rows=worst.to_dict("records")),
        note="By log loss in nats. These questions stand on this page only, never in a log or a record.",
    )


def _pictures(heading: str, note: str, *pictures: Markup) -> Section:
    return Section(heading=heading, body=fragment(_PICTURES, pictures=pictures), note=note)
