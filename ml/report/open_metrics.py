"""Figures for a monitoring system, in the text form of OpenMetrics, which Prometheus reads.

The form: https://prometheus.io/docs/specs/om/open_metrics_spec/. All comes from registry and home; nothing is measured.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from ml.records import (
    ChampionFigures,
    DataQuality,
    Decision,
    HistoryEntry,
    ModelVersion,
    RawSnapshot,
    RunOutcome,
    Scoring,
    Splits,
    StepCosts,
    StepTimes,
    from_json,
)
from ml.registry import CHAMPION_ALIAS
from ml.run import Run

R = TypeVar("R")

_FIGURES = ("precision", "recall", "average_precision")


class _Sample(NamedTuple):
    """One line: a metric with a value and labels."""

    metric: str
    value: float
    labels: Mapping[str, str] = {}


_HELP = {
    "sincere_champion": ("info", "The version behind the alias production."),
    "sincere_champion_since_seconds": ("gauge", "When the alias was moved to it, in seconds since 1970."),
    "sincere_champion_age_seconds": ("gauge", "How long it has been the champion."),
    "sincere_champion_figure": ("gauge", "Its figures on the newest test rows that it was measured on."),
    "sincere_verdicts": ("counter", "Entries of the history, by verdict."),
    "sincere_last_run": ("info", "The run that ended last, and how."),
    "sincere_last_run_end_seconds": ("gauge", "When it ended, in seconds since 1970."),
    "sincere_alarms": ("gauge", "Floors that the champion itself missed in the newest decision."),
    "sincere_drift_checks": ("gauge", "Expectations about the newest scored file that failed."),
    "sincere_step_seconds": ("gauge", "How long each step took when it last came to its end."),
    "sincere_step_written_bytes": ("gauge", "Bytes that each step's process wrote then."),
    "sincere_step_peak_memory_bytes": ("gauge", "The most memory that each step's process held then."),
    "sincere_data_checks": ("gauge", "Expectations of the newest run, by step, severity and result."),
    "sincere_snapshot_rows": ("gauge", "Rows of the newest CSV: kept, in quarantine, left out as erased."),
    "sincere_snapshot_bytes": ("gauge", "Bytes of the newest CSV."),
    "sincere_part_rows": ("gauge", "Rows of each part of the newest split."),
    "sincere_home_bytes": ("gauge", "Bytes in the home, by what they are."),
}


def metrics_text(run: Run) -> str:
    """Return all figures; raises RegistryUnavailable if the registry does not answer."""
    samples = [*_of_registry(run), *_of_runs(run.reports), *_of_data(run.reports), *_of_home(run.reports.parent)]
    lines = []
    for name, (kind, told) in _HELP.items():
        some = [sample for sample in samples if sample.metric == name]
        if some:
            end = {"counter": "_total", "info": "_info"}.get(kind, "")
            lines += [f"# TYPE {name} {kind}", f"# HELP {name} {told}"]
            lines += [f"{name}{end}{_labels(each.labels)} {each.value:.15g}" for each in some]
    return "\n".join([*lines, "# EOF"])


def _of_registry(run: Run) -> Iterator[_Sample]:
    history, champion = run.registry.history(), run.registry.resolve(CHAMPION_ALIAS)
    for verdict, number in sorted(Counter(entry.verdict for entry in history).items()):
        yield _Sample("sincere_verdicts", number, {"verdict": verdict})
    if isinstance(champion, ModelVersion):
        yield _Sample("sincere_champion", 1, {"version": champion.version, "model": champion.model})
        for moved in [entry for entry in history if entry.promoted][-1:]:
            since = datetime.fromisoformat(moved.time).timestamp()
            yield _Sample("sincere_champion_since_seconds", since)
            yield _Sample("sincere_champion_age_seconds", time.time() - since)
        for name, value in _champion_figures(history, champion.version):
            yield _Sample("sincere_champion_figure", value, {"figure": name})


def _champion_figures(history: Sequence[HistoryEntry], version: str) -> Iterator[tuple[str, float]]:
    """Yield the figures that a later run measured, else those of the verdict on the version."""
    watched = [each.watch for each in history if isinstance(each.watch, ChampionFigures)]
    own = [entry for entry in history if entry.version == version]
    for figures in [*own, *(each for each in watched if each.version == version)][-1:]:
        yield from ((name, getattr(figures, name)) for name in _FIGURES)


def _of_runs(reports: Path) -> Iterator[_Sample]:
    for path, outcome in _newest(reports, "page/RunOutcome.json", RunOutcome):
        yield _Sample("sincere_last_run", 1, {"run_id": path.parents[1].name, "outcome": outcome.outcome})
        yield _Sample("sincere_last_run_end_seconds", path.stat().st_mtime)
    for _, decision in _newest(reports, "page/Decision.json", Decision):
        yield _Sample("sincere_alarms", len(decision.alarms))
    for _, scoring in _newest(reports, "page/Scoring.json", Scoring):
        yield _Sample("sincere_drift_checks", len(scoring.drift))
    for name in sorted({path.name for path in reports.glob("*/page/times/*.json")}):
        for _, times in _newest(reports, f"page/times/{name}", StepTimes):
            yield _Sample("sincere_step_seconds", times.ended - times.began, {"step": times.step})
        for _, costs in _newest(reports, f"page/costs/{name}", StepCosts):
            yield _Sample("sincere_step_written_bytes", costs.written_bytes, {"step": costs.step})
            yield _Sample("sincere_step_peak_memory_bytes", costs.peak_memory_bytes, {"step": costs.step})


def _of_data(reports: Path) -> Iterator[_Sample]:
    for _, snapshot in _newest(reports, "page/RawSnapshot.json", RawSnapshot):
        rows = {"kept": snapshot.rows, "quarantined": snapshot.quarantined_rows, "erased": snapshot.erased_rows}
        yield from (_Sample("sincere_snapshot_rows", number, {"what": what}) for what, number in rows.items())
        yield _Sample("sincere_snapshot_bytes", snapshot.bytes)
    for _, splits in _newest(reports, "page/Splits.json", Splits):
        yield from (_Sample("sincere_part_rows", part.rows, {"part": part.name}) for part in splits.parts)
    for step in ("validate", "split"):
        for _, quality in _newest(reports, f"data_quality/{step}.json", DataQuality):
            results = Counter((each.check.severity, each.check.passed) for each in quality.checks)
            for (severity, passed), number in sorted(results.items()):
                labels = {"step": step, "severity": severity, "passed": str(passed).lower()}
                yield _Sample("sincere_data_checks", number, labels)


def _of_home(home: Path) -> Iterator[_Sample]:
    for folder in sorted([*(home / "store").glob("*"), home / "reports", home / "registry", home / "scored"]):
        if folder.is_dir():
            files = [path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
            yield _Sample("sincere_home_bytes", sum(files), {"kind": folder.name})


def _newest(reports: Path, name: str, kind: type[R]) -> Iterator[tuple[Path, R]]:
    """Yield the record that was written last under this name in any run's reports."""
    for path in sorted(reports.glob(f"*/{name}"), key=lambda path: path.stat().st_mtime_ns)[-1:]:
        yield path, from_json(path.read_text(encoding="utf-8"), kind)


def _labels(labels: Mapping[str, str]) -> str:
    """A label's value is quoted as in JSON, of which the form has the escapes that can occur here."""
    quoted = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels.items())
    return f"{{{quoted}}}" if quoted else ""
