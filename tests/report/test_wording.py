from dataclasses import replace

from ml.records import AbsentChampion, ChampionFigures, Change, Contamination, Promotion, digest
from ml.report.wording import history_text, unchanged_text, verdict_text
from tests.judge.examples import FIRST_ENTRY, INPUTS, RIVAL, compare, judged

KEPT = compare("a" * 64, RIVAL, precision=0.64)
KEPT_TEXT = """\
KEEP: Champion v1 stays: the candidate shows no precision gain.

 ✓  rolled back before        none                           no such files or inputs
 ✓  precision floor           0.6400                         at least 0.5000
 ✓  recall floor              0.6000                         at least 0.4000
 ✓  average precision floor   0.6800                         at least 0.5000
 ✓  gain over baseline        average precision 0.6800       higher than 0.5400
 ✓  calibration error         0.0200                         at most 0.0500
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

WATCH = ChampionFigures(version="v1", rows=1000, precision=0.65, recall=0.55, average_precision=0.68)


def carried_out(comparison, version):
    decision = judged(comparison)
    return Promotion(
        promoted=decision.verdict == "promote",
        verdict=decision.verdict,
        version=version,
        alias="production",
        previous=decision.champion,
        decision=digest(decision),
        report=comparison.report,
    )


def test_a_kept_champion_is_shown_beside_the_candidate():
    assert verdict_text(KEPT, judged(KEPT), carried_out(KEPT, "v2")) == KEPT_TEXT


def test_a_first_promotion_has_no_column_for_a_champion_and_names_no_champion():
    first = compare("a" * 64, AbsentChampion())

    lines = verdict_text(first, judged(first), carried_out(first, "v1")).splitlines()

    assert lines[0] == "PROMOTE: There is no champion yet, and the candidate passes every guard."
    assert "precision                   0.7000    0.5000" in lines
    assert lines[-2] == "production: v1 (before: none)"


def test_a_dry_run_says_so_first_and_last():
    first = compare("a" * 64, AbsentChampion())
    promotion = replace(carried_out(first, "unregistered"), promoted=False, dry_run=True)

    lines = verdict_text(first, judged(first), promotion).splitlines()

    assert lines[0] == "DRY RUN, PROMOTE: There is no champion yet, and the candidate passes every guard."
    assert lines[-2] == "production: none, as before (a dry run writes nothing to the registry)"


def test_a_run_without_a_change_says_so_and_how_to_train_all_the_same():
    change = Change(changed=False, reason="Nothing has changed.", inputs=INPUTS, champion=RIVAL.champion)

    assert unchanged_text(change, dry_run=False).splitlines() == [
        "UNCHANGED: Nothing has changed.",
        "",
        "Nothing was trained. To train all the same: --force, or the DAG's Param `force`.",
        "production: v1, as before",
    ]


def test_no_line_is_wider_than_a_hundred_columns():
    long_name = replace(RIVAL, champion=replace(RIVAL.champion, version="v123456"))
    comparison = compare("a" * 64, long_name, precision=0.1, recall=0.1, average_precision=0.1)
    comparison = replace(comparison, warnings=("label drift", "text length drift") * 3)

    text = verdict_text(comparison, judged(comparison), carried_out(comparison, "v123457"))

    assert max(len(line) for line in text.splitlines()) <= 100


def test_the_history_is_a_table_with_a_line_for_each_decision():
    kept = replace(
        FIRST_ENTRY,
        time="2026-01-11T00:00:00+00:00",
        verdict="keep",
        version="v2",
        previous=RIVAL.champion,
        watch=WATCH,
    )

    assert history_text([FIRST_ENTRY, kept]) == (
        "time                       verdict  version  champion before  precision  recall      F1  av. precision"
        "  its precision  its recall\n"
        "2026-01-04T00:00:00+00:00  promote  v1       none                0.7000  0.6000  0.6462         0.6800"
        "           none        none\n"
        "2026-01-11T00:00:00+00:00  keep     v2       v1                  0.7000  0.6000  0.6462         0.6800"
        "         0.6500      0.5500"
    )


def test_an_empty_history_says_so():
    assert history_text([]) == "no decision was carried out yet"


def test_a_rollback_in_the_history_says_why_and_by_whom():
    back = replace(
        FIRST_ENTRY, verdict="rollback", reason="too many false alarms", triggered_by="Airflow, manual run by eve"
    )

    assert history_text([back]).splitlines()[-1] == "    too many false alarms (Airflow, manual run by eve)"


def test_an_alarm_a_warning_and_rows_that_were_left_out_are_said_below_the_checks():
    comparison = compare("a" * 64, replace(RIVAL, contamination=Contamination(rows=1234)))
    comparison = replace(comparison, warnings=("label drift", "text length drift"))
    decision = replace(judged(comparison), alarms=("champion v1: recall 0.3500 is under 0.4000",))

    lines = verdict_text(comparison, decision, carried_out(comparison, "v2")).splitlines()

    after_checks = lines.index("", 2) + 1
    assert lines[after_checks : after_checks + 4] == [
        "ALARM: champion v1: recall 0.3500 is under 0.4000",
        "WARNING: expectations of the data that failed: label drift, text length drift; see exploration.html",
        "1,234 test rows may have been in the champion's training: they were left out",
        "",
    ]
