"""How a run ended, in one word."""

from dataclasses import replace

import pytest

from ml.errors import DataError, LineageError, RegistryUnavailable
from ml.records import (
    ChampionUnmeasured,
    Change,
    HistoryEntry,
    ModelVersion,
    NoChampion,
    NoGains,
    NothingWithdrawn,
    NotJudged,
    Promotion,
    Rollback,
    RunOutcome,
    Unregistered,
    from_json,
)
from ml.report.after_step import report_failure, report_step
from ml.report.words.run_outcome import of_change, of_decision, of_entry, of_error, of_promotion, of_rollback
from tests.judge.examples import INPUTS, RIVAL, compare, judged, open_run

V1, V2 = ModelVersion(version="v1", model="a" * 64), ModelVersion(version="v2", model="b" * 64)
DECISION = judged(compare("a" * 64, RIVAL, precision=0.64))
CHANGE = Change(
    changed=False,
    reason="Nothing has changed.",
    inputs=INPUTS,
    champion=V1,
    judged=NotJudged(),
    withdrawn=NothingWithdrawn(),
)


def promotion(verdict, candidate=V2):
    promoted = verdict == "promote" and candidate is V2
    return Promotion(
        promoted=promoted, verdict=verdict, candidate=candidate, alias="production", previous=V1, decision="d"
    )


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [("promote", "promoted"), ("keep", "kept"), ("inconclusive", "inconclusive"), ("blocked", "blocked")],
)
def test_a_decision_that_was_carried_out(verdict, outcome):
    assert of_promotion(DECISION, promotion(verdict)).outcome == outcome


def test_a_dry_run_promotes_nothing_and_says_what_it_would_have_done():
    told = of_promotion(DECISION, promotion("promote", Unregistered()))
    assert (told.outcome, told.reason) == ("dry_run", f"keep: {DECISION.reason}")


def test_a_decision_that_waits_says_where_the_alias_is():
    assert of_decision(DECISION).outcome == "decided"
    assert of_decision(DECISION).lines == ("production: v1 (the decision is not carried out yet)",)


@pytest.mark.parametrize(("withdrawn", "outcome"), [(NothingWithdrawn(), "unchanged"), (V2, "blocked")])
def test_a_run_without_work_says_why_and_what_to_do(withdrawn, outcome):
    told = of_change(replace(CHANGE, withdrawn=withdrawn))
    assert (told.outcome, told.reason) == (outcome, "Nothing has changed.")
    assert told.lines == (
        "production: v1, as before",
        "Nothing was trained. To train all the same: the DAG's Param `force`, or --force.",
    )


@pytest.mark.parametrize(
    ("error", "step", "pending", "outcome"),
    [
        (DataError("bad rows", where="a.csv", fix="mend it"), "validate", False, "rejected"),
        (LineageError("bad rows", where="a.csv", fix="mend it"), "split", False, "failed"),
        (RegistryUnavailable("bad rows", where="a.csv", fix="mend it"), "promote", True, "pending"),
        (RegistryUnavailable("bad rows", where="a.csv", fix="mend it"), "validate", True, "failed"),
    ],
)
def test_an_error_says_what_where_and_what_to_do(error, step, pending, outcome):
    told = RunOutcome(outcome=outcome, step=step, reason="bad rows", lines=("where: a.csv", "what to do: mend it"))
    assert of_error(step, error, pending=pending) == told


def test_an_error_that_nobody_foresaw_quotes_nothing():
    told = of_error("train", KeyError("a question"), pending=False)
    assert (told.outcome, told.reason) == ("failed", "an unforeseen error: KeyError")


def test_a_rollback_says_which_version_is_back():
    told = of_rollback(Rollback(target=V1, previous=V2, reason="too slow", triggered_by="me"))
    assert (told.outcome, told.reason, told.lines) == ("rolled_back", "too slow", ("production: v1 (before: v2)",))


def test_a_verdict_that_was_there_before_is_told_again():
    entry = HistoryEntry(
        time="2026-11-25T10:00:00+00:00",
        run_id="run-1",
        promoted=False,
        verdict="keep",
        reason="no gain",
        version="v2",
        previous=NoChampion(),
        decision="d",
        precision=0.5,
        recall=0.5,
        f1=0.5,
        average_precision=0.5,
        triggered_by="me",
        inputs="i",
        weights="w",
        settled=True,
        watch=ChampionUnmeasured(),
        gains=NoGains(),
    )
    assert (of_entry(entry).outcome, of_entry(entry).reason) == ("kept", "no gain")


def kept(run):
    return from_json((run.report_folder / "page" / "RunOutcome.json").read_text(), RunOutcome)


def test_a_step_that_ends_a_run_keeps_how_beside_the_reports(tmp_path):
    run = open_run(tmp_path)
    report_step(run, (), replace(CHANGE, champion=NoChampion()))
    assert kept(run).outcome == "unchanged"
    report_failure(run, "train", (), LineageError("broken", where="there", fix="mend it"))
    assert (kept(run).outcome, kept(run).step) == ("failed", "train")
