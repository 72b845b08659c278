"""What W&B is shown of a record: an artifact's name, facts and files, made of the record and the store alone.

The same record gives the same files in every process, and W&B knows an artifact by its files: a step that takes what
another one gave finds it there, so that the lineage is whole though no artifact's name travels between them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml.config import Config
from ml.records import (
    Comparison,
    Decision,
    Promotion,
    RawSnapshot,
    Record,
    Splits,
    TrainedModel,
    ValidationReport,
    digest,
    to_json,
)
from ml.run import Run
from ml.tracking.model_card import model_card
from ml.tracking.tables import Table, expectations, label_counts, rule_checks


@dataclass(frozen=True, kw_only=True)
class Content:
    """An artifact to be. A file is a path, or its text; `rows` are files that hold questions."""

    name: str
    type: str
    facts: Mapping[str, Any]
    files: Mapping[str, Path | str]
    rows: Mapping[str, Path] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where records were made, and the name of the collection that models go to."""

    config: Config
    pipeline_run: Run
    models: str


def is_shown(kind: type) -> bool:
    """Whether records of that kind are shown at all."""
    return kind in _CONTENTS


def content_of(record: Record, place: Place) -> Content:
    """What is shown of a record; raises LineageError if the store does not hold what it names."""
    return _CONTENTS[type(record)](record, place)


def _csv(record: RawSnapshot, place: Place) -> Content:
    folder = place.pipeline_run.store.open("snapshots", record.sha256)
    return Content(
        name="questions",
        type="dataset",
        facts={**_plain(record), "label_counts": label_counts(folder / "rows.parquet")},
        files={"snapshot.json": to_json(record)},
        rows={"rows.csv": folder / "rows.csv"},
        description=f"The CSV from {record.source}",
    )


def _validation(record: ValidationReport, place: Place) -> Content:
    return Content(
        name="validation",
        type="validation",
        facts={**_plain(record), "checks": len(record.checks)},
        files={"validation.json": to_json(record)},
        tables={"expectations": expectations(record)},
        description=f"Great Expectations on the CSV {record.snapshot[:12]}",
    )


def _splits(record: Splits, place: Place) -> Content:
    store = place.pipeline_run.store
    return Content(
        name="splits",
        type="split",
        facts=_plain(record),
        files={"splits.json": to_json(record)},
        rows={f"{part.name}.parquet": store.open("splits", part.digest) / "rows.parquet" for part in record.parts},
        description=f"Train, validation and test rows of the CSV {record.snapshot[:12]}",
    )


def _model(record: TrainedModel, place: Place) -> Content:
    folder = place.pipeline_run.store.open("models", record.model)
    return Content(
        name=place.models,
        type="model",
        facts=_plain(record),
        files={path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()},
        description=model_card(record, place.config),
    )


def _evaluation(record: Comparison, place: Place) -> Content:
    from ml.tracking import figures  # what draws is slow to import

    pipeline_run, policy = place.pipeline_run, place.config.policy
    return Content(
        name="evaluation",
        type="evaluation",
        facts=_plain(record),
        files={"comparison.json": to_json(record), **figures.pictures(pipeline_run.store, record)},
        tables=figures.evaluation_tables(pipeline_run.store, record, policy),
        description=f"Candidate {record.candidate.model[:12]} on {record.candidate.rows:,} test rows",
    )


def _decision(record: Decision, place: Place) -> Content:
    folder = place.pipeline_run.store.open("decisions", digest(record))
    return Content(
        name="decision",
        type="decision",
        facts={**_plain(record), "digest": digest(record)},
        files={path.name: path for path in sorted(folder.iterdir())},
        tables={"checks": rule_checks(record)},
        description=f"{record.verdict}: {record.reason}",
    )


def _promotion(record: Promotion, place: Place) -> Content:
    return Content(
        name="promotion",
        type="promotion",
        facts=_plain(record),
        files={"promotion.json": to_json(record), "verdict.txt": place.pipeline_run.report_folder / "verdict.txt"},
        description=f"{record.version} of run {place.pipeline_run.run_id}: {record.verdict}",
    )


_CONTENTS: dict[type, Callable[[Any, Place], Content]] = {
    RawSnapshot: _csv,
    ValidationReport: _validation,
    Splits: _splits,
    TrainedModel: _model,
    Comparison: _evaluation,
    Decision: _decision,
    Promotion: _promotion,
}


def _plain(record: Record) -> dict[str, Any]:
    """A record's own fields, as W&B shows them."""
    plain: dict[str, Any] = json.loads(to_json(record))
    return plain
