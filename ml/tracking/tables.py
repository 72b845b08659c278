"""Small tables of what records say."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ml.records import Decision, ValidationReport


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of plain values."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def label_counts(rows: Path) -> dict[str, int]:
    """How many rows of a parsed CSV, not validated yet, have the target 0, 1, or anything else."""
    table = pa.parquet.read_table(rows)
    if "target" not in table.column_names:
        return {"other": table.num_rows}
    targets = table["target"].cast(pa.string())
    counts = {label: pc.sum(pc.equal(targets, label)).as_py() or 0 for label in ("0", "1")}
    return {**counts, "other": table.num_rows - sum(counts.values())}


def expectations(report: ValidationReport) -> Table:
    """A row for each expectation."""
    return Table(
        columns=("expectation", "column", "severity", "passed", "observed"),
        rows=[(check.name, check.column, check.severity, check.passed, check.observed) for check in report.checks],
    )


def rule_checks(decision: Decision) -> Table:
    """A row for each rule of the policy."""
    return Table(
        columns=("rule", "observed", "required", "passed"),
        rows=[(check.rule, check.observed, check.required, check.passed) for check in decision.checks],
    )
