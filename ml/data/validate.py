"""Step `validate`: check a snapshot against `expectations/raw.json`. Its pages are written even if it fails.

If there is a champion and its CSV is in the store, the step also checks the change by `expectations/change.json`.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.config import Config
from ml.data import text_measures
from ml.data.change import describe_since, find_champions_snapshot, measure_change
from ml.data.expectations.findings import Finding, worst_severity
from ml.data.expectations.run import run_suite
from ml.data.expectations.suites import Suite, read_suites
from ml.data.quality import keep_quality
from ml.data.questions_page import CHANGE_DOCS, WHOLE_DOCS, describe, write_exploration
from ml.data.rows import read_groups
from ml.data.text_measures import CHARACTERS, DAMAGED, TEXT, WORDS
from ml.errors import DataError
from ml.records import (
    ChampionSnapshot,
    RawSnapshot,
    SnapshotElsewhere,
    ValidationReport,
)
from ml.run import Run

logger = logging.getLogger(__name__)


def validate(config: Config, run: Run, snapshot: RawSnapshot) -> ValidationReport:
    """Run both suites; raises DataError on a critical failure, puts other failures into the report.

    Raises RegistryUnavailable if the registry does not tell which model is the champion.
    """
    suites = read_suites(config.validate)
    since = find_champions_snapshot(run)
    logger.log(logging.WARNING if isinstance(since, SnapshotElsewhere) else logging.INFO, describe_since(since))
    path = run.store.open("snapshots", snapshot.sha256) / "rows.parquet"
    rows = _read_measured(path, suites.raw)
    logger.info("validating %d rows by %d expectations", rows.num_rows, len(suites.raw.content["expectations"]))
    whole = describe("The whole file", rows)
    findings = {WHOLE_DOCS: run_suite(suites.raw, _for_suite(rows), run.report_folder / WHOLE_DOCS)}
    if isinstance(since, ChampionSnapshot) and worst_severity(findings[WHOLE_DOCS]) != "critical":
        change = measure_change(run, since, path)
        findings[CHANGE_DOCS] = run_suite(suites.change, change, run.report_folder / CHANGE_DOCS)
    keep_quality(run, "validate", findings, snapshot=snapshot.sha256, rows=rows.num_rows)
    write_exploration(
        run.report_folder / "exploration.html", findings=findings, questions=[whole], note=describe_since(since)
    )
    for docs, some in findings.items():
        require(some, suites.change if docs == CHANGE_DOCS else suites.raw, f"{run.run_id}/{docs}/index.html")
    everything = [finding for some in findings.values() for finding in some]
    return ValidationReport(
        snapshot=snapshot.sha256,
        since=since,
        suite=suites.raw.name,
        suite_digest=suites.raw.digest,
        passed=True,
        worst_severity=worst_severity(everything),
        checks=tuple(finding.check for finding in everything),
    )


def require(findings: Sequence[Finding], suite: Suite, docs: str, *, opened_by: str = "validate.parameters") -> None:
    """Log each failure that is not critical; raise DataError with a line for each critical one.

    `opened_by` names the setting that opens the suite's bounds.
    """
    failed = [finding for finding in findings if not finding.check.passed]
    critical = [finding.line() for finding in failed if finding.check.severity == "critical"]
    for finding in failed:
        if finding.check.severity != "critical":
            logger.warning("%s: %s", finding.check.severity, finding.line())
    if critical:
        raise DataError(
            f"{len(critical)} critical expectation{'s' * (len(critical) > 1)} of the suite {suite.name!r} failed:\n"
            + "\n".join(f"  - {line}" for line in critical),
            where=f"Data Docs at {docs} in the reports folder",
            fix="correct the source; or, if the data is right as it is, open a bound: "
            f"{opened_by}.NAME=VALUE with NAME of {', '.join(sorted(suite.parameters))}",
        )
    logger.info("all critical expectations of the suite %r hold (%d checked)", suite.name, len(findings))


def _read_measured(path: Path, suite: Suite) -> pa.Table:
    """Read the rows, a group after the other, with the measures of their texts as more columns.

    The texts themselves stay in memory only if an expectation of the suite reads them.
    """
    whole = suite.reads(TEXT, measures=(CHARACTERS, DAMAGED))
    return pa.concat_tables(_with_measures(group, whole) for group in read_groups(path))


def _with_measures(table: pa.Table, whole: bool) -> pa.Table:
    """Great Expectations compares int64 as a whole, and any other kind of integer value by value."""
    if TEXT not in table.column_names:
        return table
    texts = table[TEXT]
    table = table.append_column(CHARACTERS, text_measures.characters(texts).cast(pa.int64()))
    table = table.append_column(DAMAGED, text_measures.damaged(texts))
    table = table.append_column(WORDS, text_measures.words(texts))
    if whole:
        return table
    present = pc.if_else(texts.is_valid(), pa.scalar(1, pa.float32()), None)
    return table.set_column(table.column_names.index(TEXT), TEXT, present)


def _for_suite(rows: pa.Table) -> pd.DataFrame:
    """Return what the suite may name: all but the words, which only the page shows."""
    frame: pd.DataFrame = rows.select([name for name in rows.column_names if name != WORDS]).to_pandas()
    return frame
