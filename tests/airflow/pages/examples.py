"""Registries with decisions of each kind, made by the code that makes them in a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

from ml.champion import promote, rollback
from ml.config import Config
from ml.judge.kept_decisions import keep_decision
from ml.judge.policy import alarms, judge
from ml.records import Decision, Interval, NoChampion, NoEvidence, digest, to_json
from ml.registry import history
from ml.registry.alias_move import Move, move_champion
from ml.report.after_step import report_rollback, report_step
from tests.judge.examples import EVIDENCE, compare_next, judged, open_run, probed

Rates = tuple[float, float]  # precision, recall


def decide_next(
    home: Path, run_id: str, candidate: Rates, champion: Rates = (0.65, 0.55), *, time: str, by: str = "command line"
) -> Decision:
    """Judge a new candidate beside the champion, carry the decision out at a time, and report it."""
    run = replace(open_run(home, run_id), triggered_by=by)
    comparison = compare_next(run, run_id, **counts(*candidate))
    known = EVIDENCE
    if not isinstance(comparison.rival, NoChampion):
        measured = replace(comparison.rival.evaluation, **counts(*champion))
        comparison = replace(comparison, rival=replace(comparison.rival, evaluation=measured))
        known = replace(EVIDENCE, figures={**EVIDENCE.figures, **_gains(candidate, champion)})
    probe = probed(comparison)
    evidence = NoEvidence() if isinstance(comparison.rival, NoChampion) else replace(known, probe=probe)
    policy = Config().policy
    verdict, reason, checks = judge(comparison, evidence, policy)
    warned = alarms(comparison.rival, policy)
    decision = replace(judged(comparison), verdict=verdict, reason=reason, checks=checks, alarms=warned)
    keep_decision(run.store, decision, policy, evidence, probe)
    with run.store.staging() as folder:
        (folder / "comparison.json").write_text(to_json(comparison), encoding="utf-8")
        run.store.commit(folder, "comparisons", digest(comparison))
    with _at(promote, time):
        promotion = promote.promote(Config(), run, comparison, decision, probe)
    report_step(run, (comparison, decision, probe), promotion)
    return decision


def roll_back(home: Path, run_id: str, version: str, reason: str, *, time: str) -> None:
    """Roll back to a version, without serving it first, and report it."""
    run = open_run(home, run_id)
    planned = rollback.plan_rollback(run, version, reason)
    with _at(history, time):
        entry = rollback._entry(run.run_id, run.registry.history(), planned)
    move_champion(run.store, run.registry, Move(target=planned.target, entry=entry, grounds=planned))
    report_rollback(run, planned)


def counts(precision: float, recall: float, *, rows: int = 20_000, positives: int = 1200) -> dict[str, float]:
    """Return the figures of an evaluation with about these rates."""
    hits = round(recall * positives)
    flagged = round(hits / precision)
    return {
        "rows": rows,
        "positives": positives,
        "precision": hits / flagged,
        "recall": hits / positives,
        "f1": 2 * hits / (flagged + positives),
        "true_positives": hits,
        "false_positives": flagged - hits,
        "false_negatives": positives - hits,
        "true_negatives": rows - positives - flagged + hits,
    }


def _gains(candidate: Rates, champion: Rates) -> dict[str, Interval]:
    differences = [mine - its for mine, its in zip(candidate, champion, strict=True)]
    names = ("precision", "recall", "f1")
    return {
        name: Interval(difference=each, lower=each - 0.012, upper=each + 0.012)
        for name, each in zip(names, [*differences, min(differences)], strict=True)
    }


@contextmanager
def _at(module: ModuleType, time: str) -> Iterator[None]:
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromisoformat(time)

    with patch.object(module, "datetime", Clock):
        yield
