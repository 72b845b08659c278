"""Step `validate`: check a snapshot against `expectations/raw.json`. Its pages are written even if it fails.

If there is a champion and its CSV is in the store, the step also checks the change by `expectations/change.json`.
"""

import logging
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from ml.config import Config
from ml.data import text_measures
from ml.data.change import describe_since, find_champions_snapshot, measure_change
from ml.data.expectations import Finding, Suite, read_suites, run_suite, worst_severity
from ml.data.quality import keep_quality
from ml.data.questions_page import CHANGE_DOCS, WHOLE_DOCS, describe, write_exploration
from ml.data.rows import read_rows
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
    table = read_rows(run.store.open("snapshots", snapshot.sha256) / "rows.parquet")
    logger.info("validating %d rows by %d expectations", table.num_rows, len(suites.raw.content["expectations"]))
    findings = {WHOLE_DOCS: run_suite(suites.raw, _measured(table), run.report_folder / WHOLE_DOCS)}
    if isinstance(since, ChampionSnapshot) and worst_severity(findings[WHOLE_DOCS]) != "critical":
        change = measure_change(run, since, table)
        findings[CHANGE_DOCS] = run_suite(suites.change, change, run.report_folder / CHANGE_DOCS)
    keep_quality(run, "validate", findings, snapshot=snapshot.sha256, rows=table.num_rows)
    write_exploration(
        run.report_folder / "exploration.html",
        findings=findings,
        questions=[describe("The whole file", table)],
        note=describe_since(since),
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


def _measured(table: pa.Table) -> pd.DataFrame:
    """Return the rows, with the measures of their texts as more columns.

    Great Expectations compares int64 as a whole, and any other kind of integer value by value.
    """
    if "question_text" in table.column_names:
        texts = table["question_text"]
        table = table.append_column("question_text (characters)", text_measures.characters(texts).cast(pa.int64()))
        table = table.append_column("question_text (damaged)", text_measures.damaged(texts))
    rows: pd.DataFrame = table.to_pandas()
    return rows
