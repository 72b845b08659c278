"""Each event's notice, word by word: what, why, figures, what to do."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ml.errors import DataError, PromotionPending, RegistryUnavailable
from ml.records import (
    Change,
    ModelVersion,
    NoAnswer,
    NoChampion,
    NothingWithdrawn,
    NotJudged,
    Promotion,
    RawSnapshot,
    Rollback,
    Unregistered,
    digest,
    to_json,
)
from ml.report.words.notices import (
    EVENTS,
    approval_notice,
    failure_notice,
    from_lines,
    late_notice,
    notice_lines,
    notices_of,
    rollback_notice,
    silent_failure_notice,
    to_lines,
)
from tests.judge.examples import INPUTS, RIVAL, compare, judged

PROJECT = Path(__file__).parents[2]
KEPT = compare("a" * 64, RIVAL, precision=0.64)
FIRST = compare("a" * 64, NoChampion())
SNAPSHOT = RawSnapshot(
    source="questions.csv", sha256="1" * 64, rows=1500, columns=("qid",), bytes=9, quarantined_rows=0
)
V1, V2 = (ModelVersion(version=name, model="a" * 64) for name in ("v1", "v2"))
KEPT_FIGURES = (
    "candidate: precision 0.6400, recall 0.6000, F1 0.6462, average precision 0.6800; champion: precision 0.6500,"
    " recall 0.5500, F1 0.6462, average precision 0.6800; on 1,000 test rows"
)


def told(taken, record, *, dry_run=False):
    """The four lines of the only notice, and its event."""
    (notice,) = notices_of(taken, record, dry_run=dry_run)
    return notice.event, notice_lines(notice, "-")[:4]


def promotion(comparison, candidate=V2, **changes):
    decision = judged(comparison)
    carried_out = Promotion(
        promoted=decision.verdict == "promote",
        verdict=decision.verdict,
        candidate=candidate,
        alias="production",
        previous=decision.champion,
        decision=digest(decision),
    )
    return (comparison, decision), replace(carried_out, **changes)


def test_a_first_promotion():
    assert told(*promotion(FIRST, V1)) == (
        "promoted",
        (
            "Promoted: v1 is the champion now (before: none)",
            "Why: There is no champion yet, and the candidate passes every guard.",
            "Figures: candidate: precision 0.7000, recall 0.6000, F1 0.6462, average precision 0.6800;"
            " on 1,000 test rows",
            "What to do: nothing",
        ),
    )


def test_a_promotion_over_a_champion_says_how_to_go_back():
    event, lines = told(*promotion(compare("a" * 64, RIVAL)))
    assert (event, lines[0]) == ("promoted", "Promoted: v2 is the champion now (before: v1)")
    assert lines[3] == "What to do: nothing; a rollback leads back to v1"


def test_a_kept_champion():
    assert told(*promotion(KEPT)) == (
        "kept",
        (
            "Kept: champion v1 stays (the candidate is version v2)",
            "Why: Champion v1 stays: the candidate shows no precision gain.",
            f"Figures: {KEPT_FIGURES}",
            "What to do: nothing",
        ),
    )


@pytest.mark.parametrize(
    ("verdict", "to_do"),
    [
        ("inconclusive", "nothing; more test rows, or a candidate that is better by more, would settle it"),
        (
            "blocked",
            "read the failed checks in the report; the Param `force` lifts a cool-down and a block after a rollback",
        ),
    ],
)
def test_a_candidate_that_is_not_promoted_says_what_helps(verdict, to_do):
    taken, record = promotion(KEPT, verdict=verdict)
    event, lines = told(taken, record)
    assert (event, lines[3]) == (verdict, f"What to do: {to_do}")
    assert lines[0] == f"{verdict.capitalize()}: champion v1 stays (the candidate is version v2)"


def test_a_blocked_first_candidate_leaves_no_champion():
    _, lines = told(*promotion(FIRST, V1, promoted=False, verdict="blocked"))
    assert lines[0] == "Blocked: there is still no champion (the candidate is version v1)"


def test_a_verdict_to_promote_that_was_not_carried_out_is_no_promotion():
    event, _ = told(*promotion(FIRST, V1, promoted=False))
    assert event == "kept"


def test_a_run_that_had_concluded_otherwise_quotes_no_figures_of_now():
    taken, record = promotion(KEPT, verdict="blocked", decision="9" * 64)
    assert told(taken, record)[1][1:3] == (
        "Why: the run had come to this verdict before",
        "Figures: none; see the history",
    )


def test_the_verdict_of_a_dry_run_is_told_to_nobody():
    taken, record = promotion(FIRST, Unregistered(), promoted=False)
    assert notices_of(taken, record, dry_run=True) == []
    assert notices_of((), CHANGE, dry_run=True) == []


CHANGE = Change(
    changed=False,
    reason="Nothing has changed. CSV, settings and code are those of the run of champion v1.",
    inputs=INPUTS,
    champion=V1,
    judged=NotJudged(),
    withdrawn=NothingWithdrawn(),
)


def test_a_run_without_a_change():
    assert told((), CHANGE) == (
        "unchanged",
        (
            "Unchanged: nothing was trained, and champion v1 stays",
            f"Why: {CHANGE.reason}",
            "Figures: none; nothing was measured",
            "What to do: nothing; the Param `force` trains all the same",
        ),
    )


def test_inputs_that_were_rolled_back_from_are_blocked():
    event, lines = told((), replace(CHANGE, withdrawn=V2))
    assert (event, lines[0]) == ("blocked", "Blocked: nothing was trained, and champion v1 stays")


def test_a_run_that_goes_on_tells_nothing():
    assert notices_of((), replace(CHANGE, changed=True), dry_run=False) == []
    assert notices_of((), SNAPSHOT, dry_run=False) == []
    assert notices_of((KEPT,), judged(KEPT), dry_run=False) == []


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_champion_under_a_floor_is_told_whatever_the_verdict(dry_run):
    alarm = "champion v1: recall 0.3500 is under 0.4000"
    assert told((KEPT,), replace(judged(KEPT), alarms=(alarm,)), dry_run=dry_run) == (
        "champion_under_floor",
        (
            "Champion under floor: champion v1 is too weak on this run's rows, whatever the verdict",
            f"Why: {alarm}",
            "Figures: precision 0.6500, recall 0.5500, F1 0.6462, average precision 0.6800, on 1,000 test rows",
            "What to do: see in the Data Docs whether the questions have changed; train on newer rows, or roll back",
        ),
    )


@pytest.mark.parametrize("answered", [True, False])
def test_an_alarm_is_not_told_again_with_a_persons_answer(answered):
    alarmed = replace(judged(KEPT), alarms=("champion v1: recall 0.3500 is under 0.4000",))
    answer = NoAnswer(decision="d" * 64, time="2026-11-25T21:40:04+00:00")
    concluded = replace(alarmed, approval=answer) if answered else alarmed
    assert len(notices_of((KEPT,), concluded, dry_run=False)) == (0 if answered else 1)


def failed(step, taken, error, *, pending=False):
    notice = failure_notice(step, taken, error, pending=pending)
    return notice.event, notice_lines(notice, "-")[:4]


def test_data_that_is_refused():
    error = DataError(
        "1 critical expectation of the suite 'raw' failed:\n  - label balance (target): observed 0.5, required 0.1",
        where="Data Docs at run-1/data_docs/index.html in the reports folder",
        fix="correct the source",
    )
    assert failed("validate", (SNAPSHOT,), error) == (
        "rejected",
        (
            "Rejected: the step validate refused the data",
            "Why: 1 critical expectation of the suite 'raw' failed: label balance (target): observed 0.5, required 0.1"
            " (Data Docs at run-1/data_docs/index.html in the reports folder)",
            "Figures: 1,500 rows in the file",
            "What to do: correct the source",
        ),
    )


def test_a_promotion_that_waits():
    error = PromotionPending("promotion pending: no answer", where="the registry, run run-1", fix="run this again")
    assert failed("promote", (KEPT, judged(KEPT)), error, pending=True) == (
        "pending",
        (
            "Pending: the verdict is known, and the registry did not answer",
            "Why: promotion pending: no answer (the registry, run run-1)",
            f"Figures: {KEPT_FIGURES}",
            "What to do: run this again",
        ),
    )


def test_a_step_that_failed():
    error = RegistryUnavailable("no answer", where="the registry", fix="run it again")
    assert failed("detect", (), error) == (
        "failed",
        (
            "Failed: the step detect ended the run",
            "Why: no answer (the registry)",
            "Figures: none; nothing was measured",
            "What to do: run it again",
        ),
    )


def test_an_unforeseen_error_quotes_nothing():
    assert failed("split", (SNAPSHOT,), KeyError("a question"))[1] == (
        "Failed: the step split ended the run",
        "Why: an unforeseen error: KeyError",
        "Figures: 1,500 rows in the file",
        "What to do: read the traceback in the task's log",
    )


def test_a_task_whose_step_could_say_nothing():
    assert notice_lines(silent_failure_notice("train", "step train was killed by signal 9"), "-")[:4] == (
        "Failed: the task train ended the run",
        "Why: step train was killed by signal 9",
        "Figures: none",
        "What to do: read the log of the task train; when its cause is gone, clear the task",
    )


def test_a_run_that_is_late():
    notice = late_notice("run-1", due="2026-11-25T21:40:04.98Z", deadline="2026-11-26 21:40:04.98+00:00")
    assert notice_lines(notice, "http://airflow/dags/retrain_quora/runs/run-1") == (
        "Late: the run run-1 has not ended by its deadline",
        "Why: a task takes long, or waits for a slot, a retry or a person",
        "Figures: due from 2026-11-25 21:40 UTC, deadline 2026-11-26 21:40 UTC",
        "What to do: see which task of the run goes on or waits, and read its log",
        "Where: http://airflow/dags/retrain_quora/runs/run-1",
    )


def test_a_rollback():
    rollback = Rollback(target=V1, previous=V2, reason="users\ncomplained", triggered_by="Airflow, manual run by eve")
    assert notice_lines(rollback_notice(rollback), "-")[:4] == (
        "Rolled back: v1 is the champion again (before: v2)",
        "Why: users complained (Airflow, manual run by eve)",
        "Figures: none; v1 was served first",
        "What to do: nothing; what v2 was made from is not promoted again unless a person says so",
    )


def test_a_person_is_asked_by_the_records_as_airflow_has_them():
    records = [json.loads(to_json(record)) for record in (KEPT, judged(KEPT))]
    assert notice_lines(approval_notice(records, until="2026-12-01 08:00 UTC"), "-")[:4] == (
        "Approval wanted: may the candidate become the champion (now: v1)?",
        "Why: KEEP: Champion v1 stays: the candidate shows no precision gain.",
        f"Figures: {KEPT_FIGURES}",
        "What to do: answer the run's required action by 2026-12-01 08:00 UTC; without an answer nothing changes",
    )


def test_each_line_is_one_line_and_no_longer_than_a_message_may_be():
    notice = failure_notice("train", (), DataError("a\nb\u2028c " * 500, where="x\r\ny", fix="f" * 5000), pending=False)
    lines = notice_lines(notice, "-")
    assert [len(line.splitlines()) for line in lines] == [1] * 5
    assert max(map(len, lines)) <= 520


def test_notices_come_back_as_they_were_left():
    notices = [late_notice("a\u2028b", due="x", deadline="y"), silent_failure_notice("train", "killed")]
    assert from_lines(to_lines(notices)) == notices
    assert from_lines("") == []


def test_every_event_that_is_promised_has_a_name():
    assert (
        *("promoted", "kept", "inconclusive", "blocked", "unchanged", "rejected", "pending", "failed"),
        *("rolled_back", "drift", "champion_under_floor", "approval_wanted", "late"),
    ) == EVENTS


def test_the_words_are_light_enough_for_airflows_processes():
    code = "import sys, ml.report.words.notices; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True, capture_output=True, text=True)
    heavy = ("tensorflow", "great_expectations", "pandas", "numpy", "matplotlib", "wandb", "ml.registry")
    assert [name for name in heavy if f"'{name}'" in loaded.stdout] == []
