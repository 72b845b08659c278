"""Put the verdict of a run into words, from its records or from the error that ended it, and write it to its reports.

A person reads the verdict at the end of `make retrain`. It is written before the registry is asked to carry out the
decision, and again when this is done or has failed.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from ml.errors import DataError, Interrupted, OutOfResources, RegistryConflict, SincereError, TransientError
from ml.records import (
    ApprovalWanted,
    Change,
    Comparison,
    Contamination,
    Decision,
    HistoryEntry,
    ModelVersion,
    NothingWithdrawn,
    Promotion,
    Record,
    Rival,
    Rollback,
    Scoring,
)
from ml.registry import CHAMPION_ALIAS
from ml.report.figures import WIDTH, aligned, champion_name, check_lines, columns_by_role, data_warnings, figure_rows
from ml.run import Run
from ml.store.files import write_whole

VERDICT = "verdict.txt"


def unchanged_text(change: Change, *, dry_run: bool) -> str:
    """Return the verdict of a run without work."""
    verdict = "unchanged" if isinstance(change.withdrawn, NothingWithdrawn) else "blocked"
    return "\n".join(
        [
            _headline(verdict, change.reason, dry_run=dry_run),
            "",
            "Nothing was trained. To train all the same: --force, or the DAG's Param `force`.",
            alias_line(f"{champion_name(change.champion)}, as before"),
        ]
    )


def decision_text(run: Run, comparison: Comparison, decision: Decision, outcome: str) -> str:
    """Return the verdict with one line for each check, the figures side by side, `outcome`, and the report's path."""
    return "\n".join(
        [
            _headline(decision.verdict, decision.reason, dry_run=run.dry_run),
            "",
            *_grounds(comparison, decision),
            "",
            alias_line(outcome),
            *_not_asked(decision),
            f"report: reports/{run.run_id}/evaluation.html",
        ]
    )


def _not_asked(decision: Decision) -> list[str]:
    """Say who would have been asked, where nobody is: the task `approve` replaces this text where it asks."""
    if not isinstance(decision.approval, ApprovalWanted):
        return []
    return ["approval: a person would be asked in Airflow; dags test, make retrain and ml run ask nobody"]


def outcome_before(decision: Decision) -> str:
    """Say where the alias points before the decision is carried out."""
    return f"{champion_name(decision.champion)} (the decision is not carried out yet)"


def outcome_after(promotion: Promotion) -> str:
    """Say where the alias points after the step `promote`, and where it pointed before."""
    before = champion_name(promotion.previous)
    if not isinstance(promotion.candidate, ModelVersion):
        return f"{before}, as before (a dry run writes nothing to the registry)"
    if promotion.promoted:
        return f"{promotion.candidate.version} (before: {before})"
    return f"{before}, as before (the candidate is version {promotion.candidate.version})"


def rollback_text(rollback: Rollback) -> str:
    """Return the text of a rollback."""
    target, previous = rollback.target.version, rollback.previous.version
    return "\n".join(
        [_headline("rollback", rollback.reason, dry_run=False), "", alias_line(f"{target} (before: {previous})")]
    )


def scoring_text(run: Run, scoring: Scoring) -> str:
    """Return what was scored, what the watch found, and where the rows are."""
    now = scoring.now
    told = (
        f"{champion_name(scoring.champion)} scored {now.rows:,} questions of {scoring.source}: "
        f"{now.flagged:,} are flagged ({now.flagged / now.rows:.2%})."
    )
    docs = [f"Data Docs: reports/{run.run_id}/data_docs_scores/index.html"] if scoring.checks else []
    return "\n".join(
        [
            _headline("drift" if scoring.drift else "scored", watched(scoring), dry_run=run.dry_run),
            "",
            textwrap.fill(told, WIDTH),
            *_watch_lines(scoring),
            "",
            f"scored rows: {scoring.output}",
            f"report: reports/{run.run_id}/scoring.html",
            *docs,
        ]
    )


def failure_text(step: str, records: Sequence[Record], error: Exception, *, pending: bool) -> str:
    """What a run says that ended in an error, or whose promotion is pending.

    What is wrong, where, what to do, and what had been decided by then.
    """
    decided = [record for record in records if isinstance(record, Decision)]
    compared = [record for record in records if isinstance(record, Comparison)]
    said = [str(error)] if isinstance(error, SincereError) else [f"an unforeseen error: {type(error).__name__}"]
    grounds = _grounds(compared[-1], decided[-1]) if decided and compared else []
    headline = textwrap.fill(_failure_headline(step, decided if pending else [], error), WIDTH)
    return "\n".join([headline, "", *said, *(["", *grounds] if grounds else [])])


def write_verdict(run: Run, text: str) -> None:
    """Write the run's verdict, whole or not at all."""
    write_whole(run.report_folder / VERDICT, text + "\n")


def write_conclusion(run: Run, entry: HistoryEntry) -> None:
    """Write the verdict of a concluded run from its history entry, unless it is written already."""
    headline, outcome = _headline(entry.verdict, entry.reason, dry_run=False), alias_line(outcome_of_entry(entry))
    written = read_verdict(run.report_folder).split("\n") if has_verdict(run) else []
    if not ("\n".join(written).startswith(headline) and outcome in written):
        write_verdict(run, "\n".join([headline, "", "The run had come to this verdict before.", outcome]))


def has_verdict(run: Run) -> bool:
    """Say whether the run's verdict is written."""
    return (run.report_folder / VERDICT).is_file()


def read_verdict(report_folder: Path) -> str:
    """Read the verdict in a run's folder of reports."""
    return (report_folder / VERDICT).read_text(encoding="utf-8", errors="replace").rstrip("\n")


def newest_verdict(reports: Path) -> str:
    """Read the verdict that was written last, by any run; raises DataError if there is none."""
    verdicts = sorted(reports.glob(f"*/{VERDICT}"), key=lambda path: path.stat().st_mtime_ns)
    if not verdicts:
        raise DataError("no run has come to a verdict yet", where="the reports", fix="run `make retrain`")
    return read_verdict(verdicts[-1].parent)


def alias_line(outcome: str) -> str:
    """Say where the champion's alias points."""
    return f"{CHAMPION_ALIAS}: {outcome}"


def outcome_of_entry(entry: HistoryEntry) -> str:
    """Say where the alias pointed after an entry of the history."""
    before = champion_name(entry.previous)
    if entry.promoted:
        return f"{entry.version} (before: {before})"
    judged = "" if entry.verdict == "unchanged" else f" (the candidate is version {entry.version})"
    return f"{before}, as before{judged}"


def _headline(verdict: str, reason: str, *, dry_run: bool) -> str:
    return textwrap.fill(f"{'DRY RUN, ' if dry_run else ''}{verdict.upper()}: {reason}", WIDTH)


def _failure_headline(step: str, pending: Sequence[Decision], error: Exception) -> str:
    if pending and step == "promote":
        return f"PROMOTION PENDING: {pending[-1].reason}"
    if isinstance(error, RegistryConflict):
        return "NOT PROMOTED: the alias was moved meanwhile."
    if isinstance(error, Interrupted):
        return f"NOT FINISHED: the step {step} was interrupted."
    if isinstance(error, OutOfResources):
        return f"NOT FINISHED: the step {step} ran out of what it needs, and may be tried again."
    if isinstance(error, TransientError):
        return f"NOT FINISHED: the step {step} did not get an answer, and may be tried again."
    return f"FAILED: the step {step} ended the run."


def _grounds(comparison: Comparison, decision: Decision) -> list[str]:
    header = ("", *(_column_name(role, comparison) for role in columns_by_role(comparison)))
    figures = [header, *((name, *values) for name, values in figure_rows(comparison))]
    return [
        *check_lines(decision.checks),
        "",
        *_remarks(comparison, decision),
        *aligned(figures, numbers_from=1),
    ]


def watched(scoring: Scoring) -> str:
    """Say what the watch over scored questions found, in one sentence."""
    if scoring.drift:
        return f"{', '.join(check.name for check in scoring.drift)}: these questions are not like those of training."
    if scoring.checks:
        return "these questions are like those of training."
    return "what the rows of this champion's training were like is not known."


def _watch_lines(scoring: Scoring) -> list[str]:
    lines = [(" ✓" if check.passed else " ✗", check.name, check.observed) for check in scoring.checks]
    return ["", *aligned(lines, numbers_from=2)] if lines else []


def _column_name(role: str, comparison: Comparison) -> str:
    return f"champion {champion_name(comparison.champion)}" if role == "champion" else role


def _remarks(comparison: Comparison, decision: Decision) -> list[str]:
    """Say which alarms and warnings there are, and how many test rows were left out; mostly there is nothing to say."""
    lines = [f"ALARM: {alarm}" for alarm in decision.alarms]
    for remark in decision.remarks:
        lines += textwrap.wrap(f"REMARK: {remark}", WIDTH)
    if comparison.warnings:
        lines += textwrap.wrap(f"WARNING: {data_warnings(comparison)}", WIDTH)
    match comparison.rival:
        case Rival(contamination=Contamination(rows=rows)) if rows:
            lines.append(f"{rows:,} test rows may have been in the champion's training: they were left out")
    return [*lines, ""] if lines else []
