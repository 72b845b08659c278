"""What a run's page says, as plain values for its template."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml.records import (
    Change,
    Comparison,
    Curves,
    Decision,
    Evidence,
    ModelVersion,
    PairedCosts,
    Probe,
    Promotion,
    RawSnapshot,
    Rollback,
    Scoring,
    ServingCosts,
    Splits,
    ToldSettings,
    TrainedModel,
    ValidationReport,
)
from ml.report.figures import RATES, columns_by_role, figure_rows
from ml.report.words.record_words import words_of
from retraining.model import Model
from retraining.outcome.run_outcome import outcome_of
from retraining.pages.report.commands import commands_of
from retraining.pages.report.drawings import bars_of, curves_of
from retraining.pages.report.kept import Kept
from retraining.pages.report.tasks import TaskState
from retraining.pages.report.version_address import version_address
from retraining.pages.run_folder import is_report

_STEPS: Mapping[str, type[Any]] = {
    "snapshot": RawSnapshot,
    "detect": Change,
    "validate": ValidationReport,
    "split": Splits,
    "train": TrainedModel,
    "evaluate": Comparison,
    "probe": Probe,
    "decide": Decision,
    "promote": Promotion,
    "rollback": Rollback,
    "score": Scoring,
}
_FILES = {
    "evaluation.html": "Evaluation: score histograms, confusion, training, worst mistakes",
    "exploration.html": "The questions: all expectations, label counts, lengths",
    "data_docs/index.html": "Data Docs of the file",
    "data_docs_change/index.html": "Data Docs of the change since the champion",
    "data_docs_splits/index.html": "Data Docs of the splits",
    "scoring.html": "Scores and lengths beside those of training",
    "data_docs_scores/index.html": "Data Docs of the scored questions",
    "verdict.txt": "The verdict as text",
}
_MIB = 2**20
Contents = Mapping[str, Any]


def contents_of(model: Model, folder: Path, tasks: Sequence[TaskState], *, over: bool) -> Contents:
    """Return all that the page says of a run; `over` says that Airflow counts the run as ended."""
    kept = Kept(folder)
    return {
        "outcome": _outcome(model, folder, tasks, over=over),
        "over": over,
        "verdict": _verdict(folder),
        "doing": [task for task in tasks if task.state in ("running", "queued", "up_for_retry")],
        "asked": any(task.state in ("awaiting_input", "deferred") for task in tasks),
        "steps": [(step, words_of(each)) for step, kind in _STEPS.items() for each in kept.all(kind)],
        "decisions": kept.all(Decision),
        "comparisons": [_models(comparison, kept) for comparison in kept.all(Comparison)],
        "evidence": [_evidence(evidence) for evidence in kept.all(Evidence)],
        "costs": [_costs(probe) for probe in kept.all(Probe)],
        "data": _data(kept),
        "told": kept.all(ToldSettings),
        "files": {name: title for name, title in _FILES.items() if is_report(folder / name, folder)},
        "tracked": [run for run in kept.tracked_runs() if run.url.startswith(("https://", "http://"))],
        "versions": [_version(promotion, model) for promotion in kept.all(Promotion)],
        "commands": commands_of(kept, model),
    }


def _outcome(model: Model, folder: Path, tasks: Sequence[TaskState], *, over: bool) -> Sequence[Contents]:
    """Return how the run ended, as a list of one; of none while nothing is known."""
    failed = [task.task_id for task in tasks if task.state == "failed" and task.is_step]
    said = is_report(folder / "page" / "RunOutcome.json", folder)
    if said or (over and not _verdict(folder)):
        return [outcome_of(model, folder.name, failed if over else [], over=over)]
    return []


def _verdict(folder: Path) -> str:
    """Return the verdict's text: all that a run has that went before there were pages."""
    file = folder / "verdict.txt"
    return file.read_text(encoding="utf-8", errors="replace") if is_report(file, folder) else ""


def _models(comparison: Comparison, kept: Kept) -> Contents:
    champion = comparison.champion
    names = {"champion": f"champion {champion.version}"} if isinstance(champion, ModelVersion) else {}
    roles = list(columns_by_role(comparison))
    return {
        "rows": comparison.candidate.rows,
        "positives": comparison.candidate.positives,
        "roles": [names.get(role, role) for role in roles],
        "figures": figure_rows(comparison),
        "curves": [curves_of(curves, columns_by_role(comparison)) for curves in kept.all(Curves)],
    }


def _evidence(evidence: Evidence) -> Contents:
    intervals = {name: evidence.figures[field] for name, field in RATES.items() if field in evidence.figures}
    measured = {name: each.f1 for name, each in evidence.slices.items() if hasattr(each, "f1")}
    return {
        "confidence": evidence.confidence,
        "resamples": evidence.resamples,
        "p": evidence.mcnemar_p,
        "candidate_alone": evidence.candidate_alone_right,
        "champion_alone": evidence.champion_alone_right,
        "intervals": bars_of(intervals),
        "slices": [(name, each, bars_of(measured).get(name, [])) for name, each in evidence.slices.items()],
    }


def _costs(probe: Probe) -> Contents:
    match probe.costs:
        case PairedCosts(candidate=candidate, champion=champion) as paired:
            ratios = [paired.question_ratio, paired.batch_ratio, *_ratios(candidate, champion)]
            rows = zip(_cost_rows(candidate), _cost_rows(champion), ratios, strict=True)
            return {
                "columns": ("", "Candidate", "Champion", "Ratio"),
                "rows": [(*own, other, f"{ratio:.2f} x") for own, (_, other), ratio in rows],
                "note": "",
            }
        case ServingCosts() as own:
            return {"columns": ("", "Candidate"), "rows": _cost_rows(own), "note": ""}
        case unmeasured:
            return {"rows": [], "note": f"Not measured beside the champion's: {unmeasured.reason}"}


def _ratios(candidate: ServingCosts, champion: ServingCosts) -> tuple[float, float]:
    return (
        candidate.peak_memory_bytes / max(champion.peak_memory_bytes, 1),
        candidate.artifact_bytes / max(champion.artifact_bytes, 1),
    )


def _cost_rows(costs: ServingCosts) -> Sequence[tuple[str, str]]:
    return (
        ("one question", f"{1000 * costs.question_seconds:,.1f} ms"),
        ("256 questions", f"{1000 * costs.batch_seconds:,.0f} ms"),
        ("peak memory", f"{costs.peak_memory_bytes / _MIB:,.0f} MiB"),
        ("all files", f"{costs.artifact_bytes / _MIB:,.1f} MiB"),
    )


def _data(kept: Kept) -> Contents:
    """Return the change since the champion's file, and what else of the data did not hold."""
    checks = [check for step in ("validate", "split") for check in kept.quality(step)]
    others = [check for check in checks if check.docs != "data_docs_change"]
    return {
        "reports": [words_of(report) for report in kept.all(ValidationReport)],
        "snapshots": kept.all(RawSnapshot),
        "change": [check for check in checks if check.docs == "data_docs_change"],
        "failed": [check for check in others if not check.check.passed],
        "checked": len(others),
    }


def _version(promotion: Promotion, model: Model) -> Contents:
    address = version_address(model, promotion.version)
    return {"version": promotion.version, "promoted": promotion.promoted, **address._asdict()}
