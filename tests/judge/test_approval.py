"""Who asks for a person gets none promoted without one; an approval lifts what it may, and nothing else."""

from dataclasses import replace

import pytest

from ml.config import PolicyConfig
from ml.judge.approval import frozen, judge_with_person
from ml.judge.policy import is_settled
from ml.records import (
    Answer,
    Approval,
    ApprovalUnneeded,
    ApprovalWanted,
    Interval,
    ModelVersion,
    NoAnswer,
    NoChampion,
    NoEvidence,
    PastPromotion,
    RareSlice,
    SourceName,
    UnknownContamination,
    UnmeasuredCosts,
)
from tests.judge.examples import COSTS, EVIDENCE, PAST, RIVAL, compare, judged

CANDIDATE = "a" * 64
UNASKED = ApprovalUnneeded()
UNSURE = replace(EVIDENCE, figures={**EVIDENCE.figures, "f1": Interval(difference=0.01, lower=-0.01, upper=0.03)})
YES = Answer(decision="d" * 64, approved=True, by="jane", time="2026-01-11T01:00:00+00:00", reason="looks right")
NO = replace(YES, approved=False, reason="wrong week")
LATE = NoAnswer(decision="d" * 64, time="2026-01-14T01:00:00+00:00")
SLOW = replace(COSTS, question_seconds=9.0)
JUST_PROMOTED = PastPromotion(version="v1", time="2026-01-10T23:00:00+00:00")


def ask(approval="borderline", *, evidence=EVIDENCE, past=PAST, rival=RIVAL, given=UNASKED, **settings):
    comparison = replace(compare(CANDIDATE, rival), source=SourceName(name="weekly.csv"))
    known = evidence if isinstance(evidence, NoEvidence) else replace(evidence, past=past)
    policy = PolicyConfig(approval=approval, **settings)
    return judge_with_person(comparison, known, policy, past, given)


BORDERLINE = {
    "inconclusive": {"evidence": UNSURE},
    "hysteresis": {
        "evidence": replace(
            EVIDENCE, figures=dict.fromkeys(EVIDENCE.figures, Interval(difference=0.01, lower=0.001, upper=0.02))
        ),
        "past": replace(PAST, after_rollback=True),
    },
    "cool-down": {"past": replace(PAST, last_promotion=JUST_PROMOTED)},
    "a new source": {"past": replace(PAST, champion_source=SourceName(name="other.csv"))},
    "unknown contamination": {"rival": replace(RIVAL, contamination=UnknownContamination())},
    "rolled back from": {"past": replace(PAST, withdrawn=ModelVersion(version="v2", model="b" * 64))},
}


@pytest.mark.parametrize("name", BORDERLINE)
def test_a_borderline_candidate_is_promoted_by_an_approval_alone(name: str) -> None:
    case = BORDERLINE[name]
    waiting, approval = ask(**case)
    assert (waiting.verdict != "promote", approval) == (
        True,
        ApprovalWanted(because=("the setting approval = borderline",), hours=72.0),
    )
    approved, _ = ask(**case, given=YES)
    assert approved.verdict == "promote"
    assert approved.reason.startswith("Approved by jane (looks right), though ")
    assert all(check.passed for check in approved.checks)
    assert any(check.observed.endswith(", but approved") for check in approved.checks)


@pytest.mark.parametrize("name", BORDERLINE)
@pytest.mark.parametrize("given", [NO, LATE, ApprovalUnneeded()], ids=["rejected", "no answer", "not asked"])
def test_without_an_approval_a_borderline_verdict_stays(name: str, given: Approval) -> None:
    never, _ = ask("never", **BORDERLINE[name])
    without, _ = ask(**BORDERLINE[name], given=given)
    assert (without.verdict, without.checks[:-1]) == (never.verdict, never.checks)
    assert without.reason.startswith(never.reason)
    assert (without.checks[-1].rule, without.checks[-1].passed) == ("approval", False)


@pytest.mark.parametrize("name", BORDERLINE)
def test_nobody_is_asked_unless_the_setting_says_so(name: str) -> None:
    assert ask("never", **BORDERLINE[name])[1] == ApprovalUnneeded()
    assert isinstance(ask("always", **BORDERLINE[name])[1], ApprovalWanted)


HOPELESS = {
    "a floor": {"min_precision": 0.99},
    "the baseline": {"min_gain_over_baseline": 0.9},
    "calibration": {"max_calibration_error": 0.0},
    "a slice": {"max_slice_fall": 0.0, "slices": {"cats": "contains:cats"}},
    "a cost": {
        "evidence": replace(
            UNSURE,
            probe=replace(
                EVIDENCE.probe,
                costs=replace(
                    EVIDENCE.probe.costs,
                    question_ratio=9.0,
                    candidate=replace(EVIDENCE.probe.costs.candidate, question_seconds=9.0),
                ),
            ),
        )
    },
    "a cost that was not measured": {
        "evidence": replace(
            UNSURE,
            probe=replace(
                EVIDENCE.probe,
                costs=UnmeasuredCosts(reason="busy", candidate=SLOW, champion_artifact_bytes=COSTS.artifact_bytes),
            ),
        )
    },
    "a rare slice that the settings name": {
        "evidence": replace(UNSURE, slices={**EVIDENCE.slices, "cats": RareSlice(rows=3, positives=1)}),
        "slices": {"cats": "contains:cats"},
    },
    "a figure that is missing": {"evidence": replace(EVIDENCE, figures={})},
    "the sample": {"past": replace(PAST, champion_source=SourceName(name="other.csv"))},
}


@pytest.mark.parametrize("approval", ["borderline", "always"])
@pytest.mark.parametrize("name", [name for name in HOPELESS if name != "the sample"])
def test_no_approval_lifts_what_it_may_not_and_nobody_is_asked_about_it(name: str, approval: str) -> None:
    case = {"evidence": UNSURE, **HOPELESS[name]}
    assert ask(approval, **case)[1] == ApprovalUnneeded()
    assert ask(approval, **case, given=YES)[0].verdict == "blocked"


def test_no_approval_puts_the_sample_in_a_champions_place() -> None:
    comparison = replace(compare(CANDIDATE, RIVAL), source=SourceName(name="sample"))
    past = HOPELESS["the sample"]["past"]
    policy = PolicyConfig(approval="always")
    judgement, approval = judge_with_person(comparison, replace(EVIDENCE, past=past), policy, past, YES)
    assert (judgement.verdict, approval) == ("blocked", ApprovalUnneeded())


def test_always_asks_before_each_promotion() -> None:
    waiting, approval = ask("always")
    assert (waiting.verdict, approval) == (
        "blocked",
        ApprovalWanted(because=("the setting approval = always",), hours=72.0),
    )
    assert waiting.reason == (
        "Champion v1 stays: nobody has approved the candidate yet, as needed by the setting approval = always."
    )
    assert ask("always", given=YES)[0].verdict == "promote"
    assert ask("always", given=YES)[0].reason.endswith("F1 surely so. Approved by jane (looks right).")
    assert ask("always", given=NO)[0].reason == (
        "Champion v1 stays: jane has rejected the candidate (wrong week), as needed by the setting approval = always."
    )
    assert ask("borderline")[0].verdict == "promote"


def test_a_first_champion_waits_for_a_person_too() -> None:
    first = {"evidence": NoEvidence(), "rival": NoChampion()}
    waiting, _ = ask("always", **first)
    assert (waiting.verdict, waiting.reason.partition(":")[0]) == ("blocked", "There is no champion yet")
    assert ask("always", **first, given=YES)[0].verdict == "promote"


def test_in_a_freeze_window_a_promotion_waits_for_a_person_whatever_the_setting_says() -> None:
    waiting, approval = ask("never", freeze=("01-10/01-12",), timezone="Europe/Zurich")
    assert waiting.verdict == "blocked"
    assert waiting.reason.endswith("as needed by the freeze window 01-10/01-12 (Europe/Zurich).")
    assert isinstance(approval, ApprovalWanted)
    assert ask("never", freeze=("01-10/01-12",), given=YES)[0].verdict == "promote"
    assert ask("never", freeze=("01-12/01-13",))[0].verdict == "promote"
    assert ask("never", freeze=("01-10/01-12",), past=replace(PAST, forced=True))[0].verdict == "blocked"


@pytest.mark.parametrize(
    ("zone", "windows"), [("UTC", ["12-31"]), ("Asia/Tokyo", ["01-01"]), ("America/New_York", ["12-31"])]
)
def test_the_window_is_that_of_its_time_zone(zone: str, windows: list[str]) -> None:
    policy = PolicyConfig(freeze=("12-31", "01-01"), timezone=zone)
    assert frozen("2026-12-31T20:00:00+00:00", policy) == windows


def test_a_rejection_is_final_and_a_missing_answer_is_not() -> None:
    decision = replace(judged(compare(CANDIDATE, RIVAL)), verdict="blocked")
    _, wanted = ask("always")
    checks = ask("always", given=NO)[0].checks
    assert is_settled(replace(decision, approval=NO, checks=checks))
    assert [is_settled(replace(decision, approval=each, checks=checks)) for each in (wanted, LATE)] == [False, False]
