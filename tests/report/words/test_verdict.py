from dataclasses import replace

import pytest

from ml.errors import LineageError, RegistryConflict, RegistryUnavailable, SourceUnavailable
from ml.records import (
    ApprovalWanted,
    Change,
    Contamination,
    ModelVersion,
    NoChampion,
    NothingWithdrawn,
    NotJudged,
    Promotion,
    Unregistered,
    digest,
)
from ml.report.words.verdict import decision_text, failure_text, outcome_after, outcome_before, unchanged_text
from tests.judge.examples import INPUTS, RIVAL, compare, judged, open_run

KEPT = compare("a" * 64, RIVAL, precision=0.64)
KEPT_TEXT = """\
KEEP: Champion v1 stays: the candidate shows no precision gain.

 ✓  rolled back before        none                           no such weights or inputs
 ✓  precision floor           0.6400                         at least 0.5000
 ✓  recall floor              0.6000                         at least 0.4000
 ✓  average precision floor   0.6800                         at least 0.5000
 ✓  gain over baseline        average precision 0.6800       higher than 0.5400
 ✓  calibration error         0.0200                         at most 0.0500
 ✓  calibration slope         0.9                            at least 0.45
 ✓  log loss                  0.1100                         below 0.2270, a constant score's
 ✓  unseen test rows          all                            known
 ✓  figures compared          8 of 8                         all of them
 ✓  slices                    lowest: up to 8 words +0.0500  no sure fall beyond 0.05
 ✓  latency of one question   1.00 x champion's 12.0 ms      at most 1.5 x, or +5 ms
 ✓  latency of 256 questions  1.00 x champion's 1500.0 ms    at most 1.5 x, or +5 ms
 ✓  peak memory               1.00 x champion's 800.0 MiB    at most 1.25 x, or +64 MiB
 ✓  artifact size             1.00 x champion's 90.0 MiB     at most 1.25 x, or +1 MiB
 ✗  precision gain            0.6400 (-0.01)                 higher than 0.6500
 ✓  recall gain               0.6000 (+0.05)                 higher than 0.5500
 ✓  F1 gain, surely           +0.0500, at least +0.0200      above 0 at 0.95 confidence
 ✓  hysteresis                no rollback                    above 0.005 after a rollback
 ✓  cool-down                 168.0 hours after v1           at least 24 hours

                         candidate  champion v1  baseline
precision                   0.6400       0.6500    0.5000
recall                      0.6000       0.5500    0.5000
F1                          0.6462       0.6462    0.5000
average precision           0.6800       0.6800    0.5400
precision at recall 0.5     0.7500       0.7500    0.7500
ROC AUC                     0.9500       0.9500    0.9500
log loss                    0.1100       0.1100    0.1100
calibration error           0.0200       0.0200    0.0200
threshold                   0.4000       0.4000    0.4000
true positives                  36           36        36
false positives                 15           15        15
false negatives                 24           24        24
true negatives                 925          925       925

production: v1, as before (the candidate is version v2)
report: reports/run-1/evaluation.html"""


def version(name):
    return ModelVersion(version=name, model="a" * 64)


def text_of(run, comparison, decision, candidate):
    return decision_text(run, comparison, decision, outcome_after(carried_out(comparison, candidate)))


def carried_out(comparison, candidate):
    decision = judged(comparison)
    return Promotion(
        promoted=decision.verdict == "promote",
        verdict=decision.verdict,
        candidate=candidate,
        alias="production",
        previous=decision.champion,
        decision=digest(decision),
    )


def test_a_kept_champion_is_shown_beside_the_candidate(tmp_path):
    assert text_of(open_run(tmp_path), KEPT, judged(KEPT), version("v2")) == KEPT_TEXT


def test_a_decision_that_is_not_carried_out_yet_says_so(tmp_path):
    text = decision_text(open_run(tmp_path), KEPT, judged(KEPT), outcome_before(judged(KEPT)))

    assert text.splitlines()[-2] == "production: v1 (the decision is not carried out yet)"


def test_a_first_promotion_has_no_column_for_a_champion_and_names_no_champion(tmp_path):
    first = compare("a" * 64, NoChampion())

    lines = text_of(open_run(tmp_path), first, judged(first), version("v1")).splitlines()

    assert lines[0] == "PROMOTE: There is no champion yet, and the candidate passes every guard."
    assert "precision                   0.7000    0.5000" in lines
    assert lines[-2] == "production: v1 (before: none)"


def test_a_dry_run_says_so_first_and_last(tmp_path):
    first = compare("a" * 64, NoChampion())
    dry = replace(open_run(tmp_path), dry_run=True)

    lines = text_of(dry, first, judged(first), Unregistered()).splitlines()

    assert lines[0] == "DRY RUN, PROMOTE: There is no champion yet, and the candidate passes every guard."
    assert lines[-2] == "production: none, as before (a dry run writes nothing to the registry)"


def test_a_run_without_a_change_says_so_and_how_to_train_all_the_same():
    change = Change(
        changed=False,
        reason="Nothing has changed.",
        inputs=INPUTS,
        champion=RIVAL.champion,
        judged=NotJudged(),
        withdrawn=NothingWithdrawn(),
    )

    assert unchanged_text(change, dry_run=False).splitlines() == [
        "UNCHANGED: Nothing has changed.",
        "",
        "Nothing was trained. To train all the same: --force, or the DAG's Param `force`.",
        "production: v1, as before",
    ]


def test_no_line_is_wider_than_a_hundred_columns(tmp_path):
    long_name = replace(RIVAL, champion=replace(RIVAL.champion, version="v123456"))
    comparison = compare("a" * 64, long_name, precision=0.1, recall=0.1, average_precision=0.1)
    comparison = replace(comparison, warnings=("label drift", "text length drift") * 3)

    text = text_of(open_run(tmp_path), comparison, judged(comparison), version("v123457"))

    assert max(len(line) for line in text.splitlines()) <= 100


def test_an_alarm_a_warning_and_rows_that_were_left_out_are_said_below_the_checks(tmp_path):
    comparison = compare("a" * 64, replace(RIVAL, contamination=Contamination(rows=1234)))
    comparison = replace(comparison, warnings=("label drift", "text length drift"))
    decision = replace(judged(comparison), alarms=("champion v1: recall 0.3500 is under 0.4000",))

    lines = text_of(open_run(tmp_path), comparison, decision, version("v2")).splitlines()

    after_checks = lines.index("", 2) + 1
    assert lines[after_checks : after_checks + 4] == [
        "ALARM: champion v1: recall 0.3500 is under 0.4000",
        "WARNING: expectations of the data that failed: label drift, text length drift; see exploration.html",
        "1,234 test rows may have been in the champion's training: they were left out",
        "",
    ]


PENDING = RegistryUnavailable("the folder did not answer", where="the registry", fix="run it again")


@pytest.mark.parametrize(
    ("error", "pending", "headline"),
    [
        (PENDING, True, "PROMOTION PENDING: Champion v1 stays: the candidate shows no precision gain."),
        (
            RegistryConflict("moved", where="there", fix="see"),
            False,
            "NOT PROMOTED: the alias was moved meanwhile.",
        ),
        (LineageError("other", where="there", fix="see"), False, "FAILED: the step promote ended the run."),
    ],
)
def test_a_promotion_that_failed_says_what_had_been_decided(error, pending, headline):
    lines = failure_text("promote", (KEPT, judged(KEPT)), error, pending=pending).splitlines()

    assert lines[0] == headline
    assert lines[2:5] == str(error).splitlines()
    assert " ✗  precision gain            0.6400 (-0.01)                 higher than 0.6500" in lines


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (
            SourceUnavailable("no answer", where="https://a.invalid", fix="try later"),
            [
                "NOT FINISHED: the step snapshot did not get an answer, and may be tried again.",
                "",
                "no answer",
                "  where: https://a.invalid",
                "  what to do: try later",
            ],
        ),
        (KeyError("a question"), ["FAILED: the step snapshot ended the run.", "", "an unforeseen error: KeyError"]),
    ],
)
def test_a_run_that_ends_early_says_where_and_why(error, lines):
    assert failure_text("snapshot", (), error, pending=False).splitlines() == lines


def test_where_nobody_was_asked_the_verdict_says_that_a_person_would_have_been(tmp_path):
    wanted = ApprovalWanted(because=("the setting approval = always",), hours=72.0)
    text = decision_text(open_run(tmp_path), KEPT, replace(judged(KEPT), approval=wanted), outcome_before(judged(KEPT)))
    assert "\napproval: a person would be asked in Airflow; dags test, make retrain and ml run ask nobody\n" in text
    assert "approval: " not in decision_text(open_run(tmp_path), KEPT, judged(KEPT), outcome_before(judged(KEPT)))
