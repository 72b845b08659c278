import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ml.champion.promote import promote
from ml.config import Config
from ml.errors import LineageError, RegistryConflict
from ml.judge.kept_decisions import keep_decision
from ml.records import (
    ChampionFigures,
    ChampionUnmeasured,
    Gains,
    Interval,
    ModelVersion,
    NoChampion,
    NoGains,
    RawSnapshot,
    Unregistered,
    ValidationReport,
    digest,
)
from ml.registry import CANDIDATE_ALIAS, CHAMPION_ALIAS
from ml.registry.read_only import ReadOnlyRegistry
from ml.report.words.verdict import decision_text, outcome_before, read_verdict, write_verdict
from ml.steps import run_step
from ml.store.files import tree_digest
from tests.judge.examples import CHAMPION, EVIDENCE, RIVAL, compare, judged, open_run, probed, store_model

SNAPSHOT = RawSnapshot(source="file:a.csv", sha256="9" * 64, rows=1, columns=(), bytes=1, quarantined_rows=0)
REPORT = ValidationReport(
    snapshot="0" * 64,
    since=NoChampion(),
    suite="raw",
    suite_digest="0" * 64,
    passed=True,
    worst_severity="none",
    checks=(),
)


class CutOff:
    """A registry whose user dies before it records."""

    def __init__(self, registry):
        self._registry = registry

    def __getattr__(self, name):
        return getattr(self._registry, name)

    def record(self, entry, grounds):
        raise KeyboardInterrupt


def promote_first(home):
    """Promote v1 in a first run, and return the run and the version."""
    run = open_run(home, "run-0")
    comparison = compare(store_model(run.store, "first"), NoChampion())
    promote(Config(), run, comparison, judged(comparison), probed(comparison))
    return ModelVersion(version="v1", model=comparison.candidate.model)


def compare_with(champion, run, content="second", **figures):
    rival = replace(RIVAL, champion=champion, evaluation=replace(CHAMPION, model=champion.model))
    return compare(store_model(run.store, content), rival, **figures)


def test_a_first_promotion_makes_the_candidate_the_champion(tmp_path):
    run = open_run(tmp_path)
    comparison = compare(store_model(run.store, "first"), NoChampion())
    decision = judged(comparison)

    promotion = promote(Config(), run, comparison, decision, probed(comparison))

    version = ModelVersion(version="v1", model=comparison.candidate.model)
    assert (promotion.promoted, promotion.version, promotion.previous) == (True, "v1", NoChampion())
    assert promotion.decision == digest(decision)
    assert run.registry.resolve(CHAMPION_ALIAS) == version
    assert run.registry.resolve(CANDIDATE_ALIAS) == version


def test_a_better_candidate_takes_over_from_the_champion(tmp_path):
    champion = promote_first(tmp_path)
    run = open_run(tmp_path)
    comparison = compare_with(champion, run)

    promotion = promote(Config(), run, comparison, judged(comparison), probed(comparison))

    assert (promotion.version, promotion.previous) == ("v2", champion)
    assert run.registry.resolve(CHAMPION_ALIAS).version == "v2"
    assert [entry.version for entry in run.registry.history()] == ["v1", "v2"]


def test_a_kept_champion_stays_and_the_candidate_is_registered(tmp_path):
    champion = promote_first(tmp_path)
    run = open_run(tmp_path)
    comparison = compare_with(champion, run, precision=0.6)

    promotion = promote(Config(), run, comparison, judged(comparison), probed(comparison))

    assert (promotion.promoted, promotion.verdict, promotion.version) == (False, "keep", "v2")
    assert run.registry.resolve(CHAMPION_ALIAS) == champion
    assert run.registry.resolve(CANDIDATE_ALIAS).version == "v2"
    assert [entry.promoted for entry in run.registry.history()] == [True, False]


def test_the_gains_over_the_champion_are_kept_with_their_bounds(tmp_path):
    champion = promote_first(tmp_path)
    run = open_run(tmp_path)
    comparison = compare_with(champion, run)
    decision = judged(comparison)
    keep_decision(run.store, decision, Config().policy, EVIDENCE, probed(comparison))

    promote(Config(), run, comparison, decision, probed(comparison))

    gain = Interval(difference=0.05, lower=0.02, upper=0.08)
    first, second = run.registry.history()
    assert first.gains == NoGains()
    assert second.gains == Gains(confidence=0.95, precision=gain, recall=gain, f1=gain)


@pytest.mark.parametrize("figures", [{}, {"precision": 0.6}], ids=["promote", "keep"])
def test_what_the_champion_reaches_on_the_fresh_rows_is_kept_whatever_the_verdict(tmp_path, figures):
    champion = promote_first(tmp_path)
    run = open_run(tmp_path)
    comparison = compare_with(champion, run, **figures)

    promote(Config(), run, comparison, judged(comparison), probed(comparison))

    first, second = run.registry.history()
    assert first.watch == ChampionUnmeasured()
    assert second.watch == ChampionFigures(version="v1", rows=1000, precision=0.65, recall=0.55, average_precision=0.68)


def test_a_retry_gives_the_same_record_and_one_entry(tmp_path):
    champion = promote_first(tmp_path)
    run = open_run(tmp_path)
    comparison = compare_with(champion, run)

    once = promote(Config(), run, comparison, judged(comparison), probed(comparison))
    again = promote(Config(), run, comparison, judged(comparison), probed(comparison))

    assert again == once
    assert len(run.registry.history()) == 2


def test_a_late_retry_does_not_undo_what_came_after(tmp_path):
    champion = promote_first(tmp_path)
    run = open_run(tmp_path)
    comparison = compare_with(champion, run)
    promoted = ModelVersion(version="v2", model=comparison.candidate.model)
    promote(Config(), run, comparison, judged(comparison), probed(comparison))
    run.registry.move_alias(CHAMPION_ALIAS, "v1", expected=promoted)
    back = replace(run.registry.history()[-1], run_id="back", verdict="rollback", version="v1", previous=promoted)
    run.registry.record(back, judged(comparison))

    promotion = promote(Config(), run, comparison, judged(comparison), probed(comparison))

    assert promotion.version == "v2"
    assert run.registry.resolve(CHAMPION_ALIAS) == champion


def test_a_champion_that_changed_since_the_decision_stops_the_promotion(tmp_path):
    champion = promote_first(tmp_path)
    slower = open_run(tmp_path, "run-slow")
    overtaken = compare_with(champion, slower)
    faster = open_run(tmp_path, "run-fast")
    winner = compare_with(champion, faster, content="third")
    promote(Config(), faster, winner, judged(winner), probed(winner))

    with pytest.raises(RegistryConflict, match="points at v2, not at v1"):
        promote(Config(), slower, overtaken, judged(overtaken), probed(overtaken))

    assert slower.registry.resolve(CHAMPION_ALIAS).model == winner.candidate.model
    assert [entry.run_id for entry in slower.registry.history()] == ["run-0", "run-fast"]


def test_a_run_that_was_judged_before_adds_nothing_and_gives_that_verdict(tmp_path):
    champion = promote_first(tmp_path)
    run = open_run(tmp_path)
    comparison, other = (compare_with(champion, run, content) for content in ("second", "third"))
    once = promote(Config(), run, comparison, judged(comparison), probed(comparison))

    again = promote(Config(), run, other, judged(other), probed(other))

    assert again == once
    assert [entry.run_id for entry in run.registry.history()] == ["run-0", "run-1"]
    assert run.registry.resolve(CHAMPION_ALIAS).model == comparison.candidate.model


def test_a_run_that_is_started_again_shows_the_verdict_that_it_came_to(tmp_path):
    champion = promote_first(tmp_path)
    run = open_run(tmp_path)
    comparison = compare_with(champion, run)
    run_step("promote", Config(), run, (comparison, judged(comparison), probed(comparison)))
    verdict = read_verdict(run.report_folder)

    assert not run_step("detect", Config(), run, [SNAPSHOT]).changed
    assert read_verdict(run.report_folder) == verdict
    with pytest.raises(LineageError):
        run_step("split", Config(), run, [SNAPSHOT, REPORT])
    assert read_verdict(run.report_folder) == verdict
    assert len(run.registry.history()) == 2


def test_a_run_killed_before_its_verdict_was_written_shows_it_when_started_again(tmp_path):
    champion = promote_first(tmp_path)
    run = open_run(tmp_path)
    comparison = compare_with(champion, run)
    decision = judged(comparison)
    write_verdict(run, decision_text(run, comparison, decision, outcome_before(decision)))
    promote(Config(), run, comparison, judged(comparison), probed(comparison))
    assert "(the decision is not carried out yet)" in read_verdict(run.report_folder)

    run_step("detect", Config(), run, [SNAPSHOT])

    verdict = read_verdict(run.report_folder)
    assert verdict.startswith("PROMOTE: Precision, recall and F1 are higher")
    assert verdict.endswith("production: v2 (before: v1)")


def test_a_run_cut_off_between_alias_and_history_is_recorded_once_when_started_again(tmp_path):
    champion = promote_first(tmp_path)
    run = open_run(tmp_path)
    comparison = compare_with(champion, run)
    cut_off = replace(run, registry=CutOff(run.registry))
    with pytest.raises(KeyboardInterrupt):
        promote(Config(), cut_off, comparison, judged(comparison), probed(comparison))

    assert not run_step("detect", Config(), run, [SNAPSHOT]).changed

    assert [(entry.run_id, entry.verdict) for entry in run.registry.history()] == [
        ("run-0", "promote"),
        ("run-1", "promote"),
    ]
    assert read_verdict(run.report_folder).endswith("production: v2 (before: v1)")


@pytest.mark.parametrize("figures", [{}, {"precision": 0.1}], ids=["promote", "keep"])
def test_a_run_cut_off_between_alias_and_history_that_decides_otherwise_ends_as_it_began(tmp_path, figures):
    champion = promote_first(tmp_path)
    run = open_run(tmp_path)
    comparison, other = compare_with(champion, run), compare_with(champion, run, "third", **figures)
    with pytest.raises(KeyboardInterrupt):
        promote(
            Config(), replace(run, registry=CutOff(run.registry)), comparison, judged(comparison), probed(comparison)
        )

    promotion = run_step("promote", Config(), run, (other, judged(other), probed(other)))

    assert (promotion.promoted, promotion.decision) == (True, digest(judged(comparison)))
    assert [(entry.run_id, entry.decision) for entry in run.registry.history()][1:] == [
        ("run-1", digest(judged(comparison)))
    ]
    assert run.registry.resolve(CHAMPION_ALIAS).model == comparison.candidate.model
    assert read_verdict(run.report_folder).endswith("production: v2 (before: v1)")
    assert run.store.names("pending") == run.store.names("moves") == []


def test_of_two_processes_with_one_run_id_one_records_and_both_say_the_same(tmp_path):
    champion = promote_first(tmp_path)
    run = open_run(tmp_path)
    comparisons = [compare_with(champion, run, content) for content in ("second", "third")]
    start = threading.Barrier(2)

    def carry_out(comparison):
        start.wait()
        return promote(Config(), open_run(tmp_path), comparison, judged(comparison), probed(comparison))

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(carry_out, comparisons)

    assert first == second
    assert [entry.run_id for entry in run.registry.history()] == ["run-0", "run-1"]
    assert run.registry.resolve(CHAMPION_ALIAS) == first.candidate


def test_a_decision_about_another_comparison_is_refused(tmp_path):
    run = open_run(tmp_path)
    model = store_model(run.store, "first")
    good, bad = compare(model, NoChampion()), compare(model, NoChampion(), precision=0.1)

    with pytest.raises(LineageError, match="not about"):
        promote(Config(), run, bad, judged(good), probed(bad))

    assert run.registry.resolve(CANDIDATE_ALIAS) == NoChampion()


def test_a_decision_that_names_another_champion_is_refused(tmp_path):
    run = open_run(tmp_path)
    comparison = compare(store_model(run.store, "first"), NoChampion())
    other = replace(judged(comparison), champion=ModelVersion(version="v1", model="c" * 64))

    with pytest.raises(LineageError, match="not about"):
        promote(Config(), run, comparison, other, probed(comparison))


def test_a_probe_of_another_model_is_refused(tmp_path):
    run = open_run(tmp_path)
    comparison = compare(store_model(run.store, "first"), NoChampion())
    other = replace(probed(comparison), model="c" * 64)

    with pytest.raises(LineageError, match="the decision is about"):
        promote(Config(), run, comparison, judged(comparison), other)

    assert run.registry.resolve(CANDIDATE_ALIAS) == NoChampion()


def test_a_decision_by_another_probe_of_the_same_model_is_refused(tmp_path):
    run = open_run(tmp_path)
    comparison = compare(store_model(run.store, "first"), NoChampion())
    again = replace(probed(comparison), largest_difference=2e-6)

    with pytest.raises(LineageError, match="and probe"):
        promote(Config(), run, comparison, judged(comparison), again)

    assert run.registry.resolve(CANDIDATE_ALIAS) == NoChampion()


@pytest.mark.parametrize("figures", [{}, {"precision": 0.6}], ids=["promote", "keep"])
def test_a_dry_run_writes_not_one_byte_to_the_registry(tmp_path, figures):
    champion = promote_first(tmp_path)
    run = open_run(tmp_path)
    dry = replace(run, registry=ReadOnlyRegistry(run.registry), dry_run=True)
    comparison = compare_with(champion, dry, **figures)
    before = tree_digest(tmp_path / "registry")

    promotion = promote(Config(), dry, comparison, judged(comparison), probed(comparison))

    assert (promotion.promoted, promotion.candidate, promotion.version) == (False, Unregistered(), "unregistered")
    assert tree_digest(tmp_path / "registry") == before


def test_a_first_dry_run_does_not_even_make_the_registry(tmp_path):
    run = open_run(tmp_path)
    dry = replace(run, registry=ReadOnlyRegistry(run.registry), dry_run=True)
    comparison = compare(store_model(run.store, "first"), NoChampion())

    promote(Config(), dry, comparison, judged(comparison), probed(comparison))

    assert not (tmp_path / "registry").exists()
