from dataclasses import replace

import pytest

from ml.config import PolicyConfig
from ml.errors import LineageError
from ml.judge.policy import alarms, is_settled, judge, remarks
from ml.records import (
    COMPARED_FIGURES,
    Bfloat16Form,
    Interval,
    ModelVersion,
    NoChampion,
    NoEvidence,
    NoPromotion,
    PastPromotion,
    RareSlice,
    RuleCheck,
    Slice,
    UnknownContamination,
    UnmeasuredCosts,
    to_json,
)
from tests.judge.examples import BASELINE, CHAMPION, COSTS, EVIDENCE, PAST, RIVAL, compare, judged, probed

POLICY = PolicyConfig(min_precision=0.5, min_recall=0.4, min_average_precision=0.5)
CANDIDATE = "a" * 64
FALL = Slice(rows=100, positives=30, f1=Interval(difference=-0.2, lower=-0.3, upper=-0.06))


def judge_against_champion(evidence=EVIDENCE, policy=POLICY, **figures):
    return judge(compare(CANDIDATE, RIVAL, **figures), evidence, policy)


def judge_first(**figures):
    return judge(compare(CANDIDATE, NoChampion(), **figures), NoEvidence(), POLICY)


def with_figure(name, gain):
    return replace(EVIDENCE, figures={**EVIDENCE.figures, name: gain})


def with_slice(name, seen):
    return replace(EVIDENCE, slices={**EVIDENCE.slices, name: seen})


def with_costs(question_ratio=1.0, batch_ratio=1.0, **costs):
    """Make evidence with these costs of the candidate and with COSTS for the champion."""
    probe = probed(compare(CANDIDATE, RIVAL))
    paired = replace(probe.costs, candidate=replace(COSTS, **costs))
    return replace(
        EVIDENCE, probe=replace(probe, costs=replace(paired, question_ratio=question_ratio, batch_ratio=batch_ratio))
    )


def in_circumstances(**changes):
    return replace(EVIDENCE, past=replace(PAST, **changes))


def check_named(rule, judgement):
    return next(check for check in judgement.checks if check.rule == rule)


def test_a_candidate_that_is_surely_better_is_promoted():
    judgement = judge_against_champion()

    assert judgement.verdict == "promote"
    assert judgement.reason == "Precision, recall and F1 are higher than those of champion v1, F1 surely so."
    assert judgement.checks == (
        RuleCheck(rule="rolled back before", observed="none", required="no such weights or inputs", passed=True),
        RuleCheck(rule="precision floor", observed="0.7000", required="at least 0.5000", passed=True),
        RuleCheck(rule="recall floor", observed="0.6000", required="at least 0.4000", passed=True),
        RuleCheck(rule="average precision floor", observed="0.6800", required="at least 0.5000", passed=True),
        RuleCheck(
            rule="gain over baseline", observed="average precision 0.6800", required="higher than 0.5400", passed=True
        ),
        RuleCheck(rule="calibration error", observed="0.0200", required="at most 0.0500", passed=True),
        RuleCheck(rule="calibration slope", observed="0.9", required="at least 0.45", passed=True),
        RuleCheck(rule="log loss", observed="0.1100", required="below 0.2270, a constant score's", passed=True),
        RuleCheck(rule="unseen test rows", observed="all", required="known", passed=True),
        RuleCheck(rule="figures compared", observed="8 of 8", required="all of them", passed=True),
        RuleCheck(
            rule="slices",
            observed="lowest: up to 8 words +0.0500",
            required="no sure fall beyond 0.05",
            passed=True,
        ),
        RuleCheck(
            rule="latency of one question",
            observed="1.00 x champion's 12.0 ms",
            required="at most 1.5 x, or +5 ms",
            passed=True,
        ),
        RuleCheck(
            rule="latency of 256 questions",
            observed="1.00 x champion's 1500.0 ms",
            required="at most 1.5 x, or +5 ms",
            passed=True,
        ),
        RuleCheck(
            rule="peak memory",
            observed="1.00 x champion's 800.0 MiB",
            required="at most 1.25 x, or +64 MiB",
            passed=True,
        ),
        RuleCheck(
            rule="artifact size",
            observed="1.00 x champion's 90.0 MiB",
            required="at most 1.25 x, or +1 MiB",
            passed=True,
        ),
        RuleCheck(rule="precision gain", observed="0.7000 (+0.05)", required="higher than 0.6500", passed=True),
        RuleCheck(rule="recall gain", observed="0.6000 (+0.05)", required="higher than 0.5500", passed=True),
        RuleCheck(
            rule="F1 gain, surely",
            observed="+0.0500, at least +0.0200",
            required="above 0 at 0.95 confidence",
            passed=True,
        ),
        RuleCheck(rule="hysteresis", observed="no rollback", required="above 0.005 after a rollback", passed=True),
        RuleCheck(rule="cool-down", observed="168.0 hours after v1", required="at least 24 hours", passed=True),
    )


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"precision": 0.65}, "Champion v1 stays: the candidate shows no precision gain."),
        ({"recall": 0.54}, "Champion v1 stays: the candidate shows no recall gain."),
        (
            {"precision": 0.6, "recall": 0.55},
            "Champion v1 stays: the candidate shows no precision gain and recall gain.",
        ),
    ],
)
def test_a_figure_that_is_equal_or_lower_keeps_the_champion(figures, reason):
    judgement = judge_against_champion(**figures)

    assert (judgement.verdict, judgement.reason) == ("keep", reason)


def test_a_gain_too_small_for_four_decimals_is_told_from_none():
    judgement = judge_against_champion(precision=0.65001)

    assert judgement.verdict == "promote"
    assert check_named("precision gain", judgement).observed == "0.6500 (+1e-05)"


def test_gains_that_may_be_luck_are_inconclusive():
    judgement = judge_against_champion(with_figure("f1", Interval(difference=0.05, lower=0.0, upper=0.1)))

    assert judgement.verdict == "inconclusive"
    assert judgement.reason == "Champion v1 stays: precision and recall are both higher, but not surely."
    assert [check.rule for check in judgement.checks if not check.passed] == ["F1 gain, surely"]


def test_the_gain_that_must_be_sure_is_configurable():
    assert judge_against_champion(policy=replace(POLICY, min_f1_gain=0.03)).verdict == "inconclusive"


def test_a_missed_floor_blocks_a_candidate_that_beats_the_champion():
    judgement = judge(
        replace(compare(CANDIDATE, RIVAL, average_precision=0.4999), baseline=replace(BASELINE, average_precision=0.3)),
        EVIDENCE,
        POLICY,
    )

    assert judgement.verdict == "blocked"
    assert judgement.reason == "Champion v1 stays: the candidate fails its average precision floor."


@pytest.mark.parametrize(
    ("figures", "rule"),
    [
        ({"average_precision": 0.54}, "gain over baseline"),
        ({"calibration_error": 0.051}, "calibration error"),
    ],
)
def test_each_guard_blocks(figures, rule):
    judgement = judge_against_champion(**figures)

    assert (judgement.verdict, judgement.reason) == ("blocked", f"Champion v1 stays: the candidate fails its {rule}.")


@pytest.mark.parametrize(
    ("evidence", "observed"),
    [
        (with_slice("first word why", FALL), "1 failed: first word why -0.2000"),
        (replace(EVIDENCE, slices={}), "10 failed: up to 8 words missing"),
    ],
)
def test_a_slice_that_surely_fell_or_is_missing_blocks(evidence, observed):
    judgement = judge_against_champion(evidence)

    assert judgement.verdict == "blocked"
    assert check_named("slices", judgement).observed == observed


def test_a_fall_that_may_be_luck_does_not_block():
    unsure = replace(FALL, f1=Interval(difference=-0.2, lower=-0.4, upper=-0.05))

    assert judge_against_champion(with_slice("first word why", unsure)).verdict == "promote"


def test_a_slice_can_have_a_bound_of_its_own():
    policy = replace(POLICY, slice_bounds={"first word why": 0.1})

    assert judge_against_champion(with_slice("first word why", FALL), policy).verdict == "promote"


def test_a_rare_slice_blocks_only_where_it_was_asked_for():
    evidence = with_slice("contains a link", RareSlice(rows=5, positives=1))

    assert judge_against_champion(evidence).verdict == "promote"
    asked = replace(POLICY, slices={"contains a link": "contains:http"})
    assert judge_against_champion(evidence, asked).verdict == "blocked"


def test_a_figure_that_is_missing_blocks():
    figures = {name: gain for name, gain in EVIDENCE.figures.items() if name != "f1"}
    judgement = judge_against_champion(replace(EVIDENCE, figures=figures))

    assert judgement.verdict == "blocked"
    assert check_named("figures compared", judgement).observed == "missing: f1"


def test_a_figure_on_its_floor_reaches_it():
    assert judge_first(precision=0.5).checks[0].passed


def test_a_first_run_needs_floors_baseline_and_calibration_only():
    judgement = judge_first()

    assert judgement.verdict == "promote"
    assert [check.rule for check in judgement.checks] == [
        "precision floor",
        "recall floor",
        "average precision floor",
        "gain over baseline",
        "calibration error",
        "calibration slope",
        "log loss",
    ]


@pytest.mark.parametrize(
    ("figures", "rule"),
    [
        ({"recall": 0.39}, "recall floor"),
        ({"average_precision": 0.53}, "gain over baseline"),
        ({"calibration_error": 0.051}, "calibration error"),
        ({"log_loss": 0.2271, "calibration_slope": 0.0}, "calibration slope and log loss"),
        ({"calibration_slope": 0.27}, "calibration slope"),
    ],
    ids=["recall", "baseline", "calibration error", "a constant score", "logits five times"],
)
def test_a_first_run_that_fails_a_guard_is_blocked(figures, rule):
    judgement = judge_first(**figures)

    assert judgement.verdict == "blocked"
    assert judgement.reason == f"There is no champion yet, but the candidate fails its {rule}."


def in_bfloat16(rival, evidence, **changes):
    """Judge a candidate that was exported in bfloat16."""
    form = Bfloat16Form(rows=2000, labels_agreeing=0.9995, average_precision_change=-0.0004)
    compared = compare(CANDIDATE, rival)
    trained = replace(compared.trained, form=replace(form, **changes))
    return judge(replace(compared, trained=trained), evidence, POLICY)


def test_a_candidate_in_bfloat16_shows_how_near_it_is_to_float32():
    judgement = in_bfloat16(RIVAL, EVIDENCE)
    assert judgement.verdict == "promote"
    assert check_named("labels as in float32", judgement) == RuleCheck(
        rule="labels as in float32",
        observed="on 99.950% of 2,000 validation rows",
        required="at least 99.9%",
        passed=True,
    )
    assert check_named("average precision as in float32", judgement) == RuleCheck(
        rule="average precision as in float32", observed="-0.0004", required="within 0.002", passed=True
    )


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"labels_agreeing": 0.9985}, "labels as in float32"),
        ({"average_precision_change": -0.0021}, "average precision as in float32"),
        ({"average_precision_change": 0.0021}, "average precision as in float32"),
    ],
)
def test_a_candidate_in_bfloat16_that_is_too_far_from_float32_is_blocked(change, rule):
    against, first = in_bfloat16(RIVAL, EVIDENCE, **change), in_bfloat16(NoChampion(), NoEvidence(), **change)
    assert (against.verdict, against.reason) == ("blocked", f"Champion v1 stays: the candidate fails its {rule}.")
    assert (first.verdict, first.reason) == (
        "blocked",
        f"There is no champion yet, but the candidate fails its {rule}.",
    )


def test_the_champion_itself_is_kept_and_the_reason_says_so():
    judgement = judge_against_champion(weights=CHAMPION.weights, threshold=0.9)

    assert judgement.verdict == "keep"
    assert judgement.reason == "The candidate is the same model as champion v1: nothing has changed."


def test_figures_of_different_rows_are_never_compared():
    rival = replace(RIVAL, evaluation=replace(RIVAL.evaluation, test="8" * 64))

    with pytest.raises(LineageError, match="measured on rows 777777777777, another model on 888888888888"):
        judge(compare(CANDIDATE, rival), EVIDENCE, POLICY)


def test_a_champion_without_evidence_is_refused():
    with pytest.raises(LineageError, match="no evidence"):
        judge(compare(CANDIDATE, RIVAL), NoEvidence(), POLICY)


@pytest.mark.parametrize(
    ("costs", "rule"),
    [
        ({"question_ratio": 1.6, "question_seconds": 0.0192}, "latency of one question"),
        ({"batch_ratio": 1.6, "batch_seconds": 2.4}, "latency of 256 questions"),
        ({"peak_memory_bytes": 1001 * 2**20}, "peak memory"),
        ({"artifact_bytes": 113 * 2**20}, "artifact size"),
    ],
)
def test_a_better_candidate_that_costs_too_much_is_blocked(costs, rule):
    judgement = judge_against_champion(with_costs(**costs))

    assert (judgement.verdict, judgement.reason) == ("blocked", f"Champion v1 stays: the candidate fails its {rule}.")


def test_a_few_milliseconds_more_are_nothing_whatever_the_ratio():
    assert judge_against_champion(with_costs(question_ratio=1.6, question_seconds=0.0169)).verdict == "promote"


@pytest.mark.parametrize(
    ("setting", "costs"),
    [
        ("max_latency_ratio", {"batch_ratio": 1.1, "batch_seconds": 1.65}),
        ("max_memory_ratio", {"peak_memory_bytes": 880 * 2**20}),
        ("max_size_ratio", {"artifact_bytes": 99 * 2**20}),
    ],
)
def test_the_budget_of_costs_is_configurable(setting, costs):
    assert judge_against_champion(with_costs(**costs)).verdict == "promote"
    assert judge_against_champion(with_costs(**costs), replace(POLICY, **{setting: 1.05})).verdict == "blocked"


def test_costs_that_were_measured_of_one_model_alone_block():
    probe = replace(probed(compare(CANDIDATE, RIVAL)), costs=COSTS)
    judgement = judge_against_champion(replace(EVIDENCE, probe=probe))

    assert judgement.verdict == "blocked"
    assert check_named("peak memory", judgement).observed == "not measured"


def unmeasured(**costs):
    """Make a probe that served the candidate at these costs, but not beside the champion."""
    alone = UnmeasuredCosts(
        reason="its process ended", candidate=replace(COSTS, **costs), champion_artifact_bytes=COSTS.artifact_bytes
    )
    return replace(probed(compare(CANDIDATE, RIVAL)), costs=alone)


def test_costs_that_could_not_be_measured_beside_the_champions_hold_nobody_back_within_absolute_bounds():
    judgement = judge_against_champion(replace(EVIDENCE, probe=unmeasured()))

    assert judgement.verdict == "promote"
    costs = ("latency of one question", "latency of 256 questions", "peak memory", "artifact size")
    assert [(check.observed, check.required) for check in judgement.checks if check.rule in costs] == [
        ("12.0 ms, the champion's not measured", "at most 2000 ms"),
        ("1500.0 ms, the champion's not measured", "at most 600000 ms"),
        ("800.0 MiB, the champion's not measured", "at most 16384 MiB"),
        ("1.00 x champion's 90.0 MiB", "at most 1.25 x, or +1 MiB"),
    ]


def test_why_costs_were_not_measured_and_what_to_do_is_said_once():
    (remark,) = remarks(compare(CANDIDATE, RIVAL), unmeasured(), POLICY)

    assert remark.startswith(
        "the costs beside champion v1 could not be measured, twice (its process ended): give the machine memory for two"
        " models, or see whether v1 still serves;"
    )


@pytest.mark.parametrize(
    ("costs", "rule"),
    [
        ({"question_seconds": 2.1}, "latency of one question"),
        ({"batch_seconds": 601.0}, "latency of 256 questions"),
        ({"peak_memory_bytes": 17 * 2**30}, "peak memory"),
        ({"artifact_bytes": 113 * 2**20}, "artifact size"),
    ],
)
def test_a_candidate_beyond_an_absolute_bound_is_blocked_though_the_champions_costs_are_not_known(costs, rule):
    judgement = judge_against_champion(replace(EVIDENCE, probe=unmeasured(**costs)))

    assert (judgement.verdict, judgement.reason) == ("blocked", f"Champion v1 stays: the candidate fails its {rule}.")


@pytest.mark.parametrize(
    ("setting", "value"), [("max_question_seconds", 0.01), ("max_batch_seconds", 1.0), ("max_memory_gib", 0.5)]
)
def test_the_absolute_bounds_are_configurable(setting, value):
    evidence = replace(EVIDENCE, probe=unmeasured())

    assert judge_against_champion(evidence, replace(POLICY, **{setting: value})).verdict == "blocked"


def test_a_version_that_was_rolled_back_from_is_blocked_however_good_it_is():
    judgement = judge_against_champion(in_circumstances(withdrawn=ModelVersion(version="v2", model=CANDIDATE)))

    assert judgement.verdict == "blocked"
    assert judgement.reason == "Champion v1 stays: a version of the same weights or inputs was rolled back from."
    assert judgement.checks[0] == RuleCheck(
        rule="rolled back before", observed="v2", required="no such weights or inputs", passed=False
    )


def test_a_forced_run_may_promote_what_was_rolled_back_from():
    withdrawn = ModelVersion(version="v2", model=CANDIDATE)
    judgement = judge_against_champion(in_circumstances(withdrawn=withdrawn, forced=True))

    assert judgement.verdict == "promote"
    assert check_named("rolled back before", judgement).observed == "v2, but forced"


def test_a_better_candidate_waits_for_the_end_of_the_cool_down():
    judgement = judge_against_champion(in_circumstances(time="2026-01-04T23:54:00+00:00"))

    assert judgement.verdict == "blocked"
    assert judgement.reason == "Champion v1 stays: the candidate is surely better, but the cool-down is not over."
    assert judgement.checks[-1] == RuleCheck(
        rule="cool-down", observed="23.9 hours after v1", required="at least 24 hours", passed=False
    )


@pytest.mark.parametrize(
    ("promoted", "observed", "verdict"),
    [
        ("2026-01-13T23:00:00+00:00", "unknown: v1 is dated 71.0 hours ahead, a clock was wrong", "promote"),
        ("2036-01-11T00:00:00+00:00", "unknown: v1 is dated 87648.0 hours ahead, a clock was wrong", "promote"),
        ("2026-01-11T00:30:00+00:00", "0.0 hours after v1", "blocked"),
    ],
)
def test_a_promotion_from_the_future_holds_nobody_back_until_then(promoted, observed, verdict):
    last = PastPromotion(version="v1", time=promoted)

    judgement = judge_against_champion(in_circumstances(last_promotion=last))

    assert judgement.verdict == verdict
    assert check_named("cool-down", judgement).observed == observed


def test_the_cool_down_hides_no_other_verdict():
    early = in_circumstances(time="2026-01-04T01:00:00+00:00")

    assert judge_against_champion(early, recall=0.5).verdict == "keep"


@pytest.mark.parametrize(
    "past",
    [
        {"time": "2026-01-05T00:00:00+00:00"},
        {"time": "2026-01-04T01:00:00+00:00", "forced": True},
        {"last_promotion": NoPromotion()},
    ],
    ids=["its end", "forced", "no promotion before"],
)
def test_the_cool_down_passes_at(past):
    assert judge_against_champion(in_circumstances(**past)).verdict == "promote"


@pytest.mark.parametrize(("lower", "verdict"), [(0.005, "inconclusive"), (0.0051, "promote")])
def test_after_a_rollback_the_gain_must_be_larger(lower, verdict):
    evidence = replace(
        in_circumstances(after_rollback=True),
        figures={**EVIDENCE.figures, "f1": Interval(difference=0.05, lower=lower, upper=0.1)},
    )

    assert judge_against_champion(evidence).verdict == verdict


def test_a_gain_too_small_after_a_rollback_says_so():
    evidence = replace(
        in_circumstances(after_rollback=True),
        figures={**EVIDENCE.figures, "f1": Interval(difference=0.05, lower=0.004, upper=0.1)},
    )
    judgement = judge_against_champion(evidence)

    assert judgement.reason == "Champion v1 stays: F1 is surely higher, but by too little after a rollback."
    assert check_named("hysteresis", judgement) == RuleCheck(
        rule="hysteresis", observed="F1 at least +0.0040", required="above 0.005 after a rollback", passed=False
    )


def test_the_fullest_decision_that_there_can_be_fits_into_a_record():
    """Nearly every check fails, every alarm rings, and all names are long."""
    name = "asks politely about news"
    comparison = compare(
        CANDIDATE,
        RIVAL,
        precision=0.1,
        recall=0.1,
        average_precision=0.1,
        calibration_error=0.9,
        calibration_slope=0.1,
        log_loss=0.9,
    )
    costs = with_costs(9.99, 9.99, question_seconds=99.0, batch_seconds=999.0, peak_memory_bytes=10**12)
    past = {"last_promotion": PastPromotion(version="v1000", time=PAST.time), "after_rollback": True}
    withdrawn = ModelVersion(version="v1001", model=CANDIDATE)
    past = replace(PAST, withdrawn=withdrawn, forced=True, **past)
    sure = Interval(difference=-0.2, lower=-0.3, upper=-0.1)
    evidence = replace(costs, past=past, slices={}, figures=dict.fromkeys(COMPARED_FIGURES, sure))
    policy = replace(POLICY, slices={name: "contains:news"}, slice_bounds={})
    verdict, reason, checks = judge(comparison, evidence, policy)
    decision = replace(
        judged(comparison),
        verdict=verdict,
        checks=checks,
        reason=reason,
        past=past,
        triggered_by="Airflow, manual run by somebody.with.a.long.name@company.example.com",
        alarms=("champion v1000: average precision 0.1000 is under 0.5000",) * 3,
        remarks=remarks(comparison, unmeasured(), replace(policy, max_f1_waste=0.0)),
    )

    assert sum(not check.passed for check in checks) == 15
    assert len(to_json(decision)) <= 6000


def test_a_champion_under_a_floor_raises_an_alarm_for_each():
    weak = replace(RIVAL, evaluation=replace(CHAMPION, precision=0.49, average_precision=0.3))

    assert alarms(weak, POLICY) == (
        "champion v1: precision 0.4900 is under 0.5000",
        "champion v1: average precision 0.3000 is under 0.5000",
    )


@pytest.mark.parametrize("rival", [NoChampion(), RIVAL], ids=["no champion", "strong"])
def test_without_a_weak_champion_there_is_no_alarm(rival):
    assert alarms(rival, POLICY) == ()


def test_a_constant_score_is_blocked_by_its_log_loss_and_its_slope():
    judgement = judge_against_champion(log_loss=0.2271, calibration_slope=0.0, calibration_error=0.0)

    assert judgement.reason == "Champion v1 stays: the candidate fails its calibration slope and log loss."


def test_unknown_contamination_blocks_unless_forced():
    unknown = compare(CANDIDATE, replace(RIVAL, contamination=UnknownContamination()))

    judgement = judge(unknown, EVIDENCE, POLICY)

    assert judgement.reason == "Champion v1 stays: the candidate fails its unseen test rows."
    assert check_named("unseen test rows", judgement).observed == "unknown: the champion's rows are not here"
    forced = judge(unknown, in_circumstances(forced=True), POLICY)
    assert forced.verdict == "promote"
    assert check_named("unseen test rows", forced).observed == "unknown: the champion's rows are not here, but forced"


def rebased(**figures):
    comparison = compare(CANDIDATE, RIVAL, **figures)
    return replace(comparison, trained=replace(comparison.trained, rebased=True))


def test_a_candidate_re_based_on_purpose_may_trade_recall_for_precision_and_the_verdict_shows_both_points():
    judgement = judge(rebased(precision=0.9, recall=0.5, f1=0.66), EVIDENCE, POLICY)

    assert judgement.verdict == "promote"
    assert judgement.reason == "F1 is surely higher than that of champion v1, at a point re-based on purpose."
    assert check_named("operating point, re-based", judgement) == RuleCheck(
        rule="operating point, re-based",
        observed="precision / recall 0.9000 / 0.5000",
        required="any; champion 0.6500 / 0.5500",
        passed=True,
    )


def test_a_candidate_re_based_on_purpose_needs_a_gain_in_f1():
    judgement = judge(rebased(precision=0.9, recall=0.5, f1=0.64), EVIDENCE, POLICY)

    assert (judgement.verdict, judgement.reason) == (
        "keep",
        "Champion v1 stays: the candidate shows no F1 gain.",
    )


def test_the_champions_own_weights_may_be_re_based_to_another_threshold_alone():
    same = {"weights": CHAMPION.weights, "f1": 0.66}

    assert judge(rebased(threshold=0.3, **same), EVIDENCE, POLICY).verdict == "promote"
    assert judge(rebased(threshold=CHAMPION.threshold, **same), EVIDENCE, POLICY).verdict == "keep"


def test_an_operating_point_that_wastes_f1_is_named_for_each_model():
    wasteful = replace(RIVAL, evaluation=replace(CHAMPION, f1=0.338, best_f1=0.552, best_threshold=0.41))

    assert remarks(compare(CANDIDATE, wasteful, f1=0.35), EVIDENCE.probe, POLICY) == tuple(
        f"{name} at its operating point; the champion's scores reach 0.5520 at threshold 0.4100:"
        " `threshold.rebase` chooses the point anew"
        for name in ("champion v1 has F1 0.3380", "the candidate has F1 0.3500")
    )
    assert remarks(compare(CANDIDATE, RIVAL), EVIDENCE.probe, POLICY) == ()


@pytest.mark.parametrize(
    ("evidence", "settled"),
    [
        (in_circumstances(time="2026-01-04T01:00:00+00:00"), False),
        (replace(EVIDENCE, probe=replace(EVIDENCE.probe, costs=COSTS)), False),
        (replace(EVIDENCE, slices={}), True),
    ],
    ids=["cool-down", "costs not measured", "slices"],
)
def test_what_held_a_candidate_back_by_circumstance_is_not_settled(evidence, settled):
    comparison = compare(CANDIDATE, RIVAL)
    verdict, reason, checks = judge(comparison, evidence, POLICY)

    decision = replace(judged(comparison), verdict=verdict, reason=reason, checks=checks)

    assert (verdict, is_settled(decision)) == ("blocked", settled)
