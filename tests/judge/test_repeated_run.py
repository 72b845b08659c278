from dataclasses import replace

import pytest

from ml.champion.promote import promote
from ml.config import Config, EncoderConfig, PolicyConfig, SourceConfig, TrainConfig
from ml.errors import ConfigError
from ml.fingerprint import inputs_of
from ml.judge.policy import judge
from ml.judge.repeated_run import detect
from ml.records import Interval, NoChampion, RawSnapshot, Rollback
from ml.report.words.verdict import unchanged_text
from tests.judge.examples import EVIDENCE, PAST, compare, compare_next, judged, open_run, probed, store_model
from tests.tiny import write_tiny_encoder

SNAPSHOT = RawSnapshot(source="file:rows.csv", sha256="1" * 64, rows=3, columns=("qid",), bytes=30, quarantined_rows=0)


@pytest.fixture
def champion(tmp_path):
    """Record a champion that was trained from the snapshot with the default settings and this code."""
    run = open_run(tmp_path, "run-0")
    comparison = compare(store_model(run.store, "first"), NoChampion())
    decision = replace(judged(comparison), inputs=inputs_of(Config(), SNAPSHOT.sha256, NoChampion()))
    promote(Config(), run, comparison, decision, probed(comparison))
    return run.registry.resolve("production")


def test_without_a_champion_there_is_work(tmp_path):
    change = detect(Config(), open_run(tmp_path), SNAPSHOT)

    assert (change.changed, change.reason) == (True, "There is no champion yet.")


def test_the_inputs_of_the_champions_run_are_no_work_and_that_is_recorded(tmp_path, champion):
    run = open_run(tmp_path)

    change = detect(Config(), run, SNAPSHOT)

    assert (change.changed, change.champion) == (False, champion)
    entry = run.registry.history()[-1]
    assert (entry.verdict, entry.promoted, entry.version, entry.previous) == ("unchanged", False, "v1", champion)
    assert entry.reason == "Nothing has changed. CSV, settings and code are those of the run of champion v1."
    assert run.registry.resolve("production") == champion


def test_a_retry_records_it_once(tmp_path, champion):
    run = open_run(tmp_path)

    assert detect(Config(), run, SNAPSHOT) == detect(Config(), run, SNAPSHOT)

    assert [entry.verdict for entry in run.registry.history()] == ["promote", "unchanged"]


@pytest.mark.parametrize(
    ("config", "snapshot"),
    [
        (Config(), replace(SNAPSHOT, sha256="2" * 64)),
        (Config(train=TrainConfig(epochs=3)), SNAPSHOT),
        (Config(train=TrainConfig(warm_start=True)), SNAPSHOT),
        (Config(policy=PolicyConfig(min_recall=0.45)), SNAPSHOT),
    ],
    ids=["CSV", "training", "warm start", "policy"],
)
def test_another_csv_or_another_setting_is_work(tmp_path, champion, config, snapshot):
    assert detect(config, open_run(tmp_path), snapshot).changed


def test_where_the_same_csv_was_pulled_from_does_not_matter(tmp_path, champion):
    mirrored = Config(source=SourceConfig(uri="https://mirror.invalid/rows.csv"))

    assert not detect(mirrored, open_run(tmp_path), SNAPSHOT).changed


def test_other_code_is_work(tmp_path, champion, monkeypatch):
    monkeypatch.setattr("ml.fingerprint.code_version", lambda: "0" * 64)

    assert detect(Config(), open_run(tmp_path), SNAPSHOT).changed


def test_a_forced_run_goes_on_and_says_that_nothing_has_changed(tmp_path, champion):
    change = detect(Config(), replace(open_run(tmp_path), force=True), SNAPSHOT)

    assert change.changed
    assert change.reason.startswith("Nothing has changed, but the run was told to go on.")


def test_a_dry_run_without_a_change_records_nothing(tmp_path, champion):
    run = replace(open_run(tmp_path), dry_run=True)

    detect(Config(), run, SNAPSHOT)

    assert [entry.verdict for entry in run.registry.history()] == ["promote"]


def lose(tmp_path, config, run_id, evidence=EVIDENCE, **figures):
    """A run of the snapshot by that config, judged beside the champion of now; gives its verdict."""
    run = open_run(tmp_path, run_id)
    comparison = compare_next(run, run_id, **figures)
    inputs = inputs_of(config, SNAPSHOT.sha256, comparison.champion)
    verdict, reason, checks = judge(comparison, replace(evidence, probe=probed(comparison)), config.policy)
    decision = replace(judged(comparison), verdict=verdict, reason=reason, checks=checks, inputs=inputs)
    promote(config, run, comparison, decision, probed(comparison))
    return verdict


OTHER = Config(train=TrainConfig(epochs=3))
UNSURE = replace(EVIDENCE, figures={**EVIDENCE.figures, "f1": Interval(difference=0.01, lower=-0.01, upper=0.03)})
TOO_EARLY = replace(EVIDENCE, past=replace(PAST, time=PAST.last_promotion.time))


@pytest.mark.parametrize(
    ("verdict", "evidence", "figures"),
    [("keep", EVIDENCE, {"recall": 0.5}), ("inconclusive", UNSURE, {}), ("blocked", EVIDENCE, {"precision": 0.1})],
)
def test_the_inputs_of_a_run_that_lost_against_this_champion_are_no_second_draw(
    tmp_path, champion, verdict, evidence, figures
):
    assert lose(tmp_path, OTHER, "run-2", evidence, **figures) == verdict
    run = open_run(tmp_path, "run-3")

    change = detect(OTHER, run, SNAPSHOT)

    assert not change.changed
    assert (change.judged.run_id, change.judged.verdict, change.judged.version) == ("run-2", verdict, "v2")
    text = unchanged_text(change, dry_run=False).replace("\n", " ")
    assert f"those of run run-2: {verdict.upper()}. {change.judged.reason}" in text
    assert [entry.verdict for entry in run.registry.history()] == ["promote", verdict, "unchanged"]
    assert detect(OTHER, replace(open_run(tmp_path, "run-4"), force=True), SNAPSHOT).changed


def test_what_the_cool_down_held_back_is_judged_again(tmp_path, champion):
    assert lose(tmp_path, OTHER, "run-2", TOO_EARLY) == "blocked"

    assert detect(OTHER, open_run(tmp_path, "run-3"), SNAPSHOT).changed


def test_what_lost_against_another_champion_is_judged_again(tmp_path, champion):
    assert lose(tmp_path, OTHER, "run-2", recall=0.5) == "keep"
    assert lose(tmp_path, Config(train=TrainConfig(epochs=4)), "run-3") == "promote"

    assert detect(OTHER, open_run(tmp_path, "run-4"), SNAPSHOT).changed


def test_a_run_started_again_after_its_verdict_adds_nothing_to_the_history(tmp_path, champion):
    lose(tmp_path, OTHER, "run-2", recall=0.5)
    run = open_run(tmp_path, "run-2")

    assert not detect(OTHER, run, SNAPSHOT).changed

    assert [entry.verdict for entry in run.registry.history()] == ["promote", "keep"]


def test_inputs_of_what_was_rolled_back_from_end_before_training(tmp_path, champion):
    assert lose(tmp_path, OTHER, "run-2") == "promote"
    run = open_run(tmp_path, "back")
    gone = run.registry.resolve("production")
    entry = replace(run.registry.history()[0], run_id="back", verdict="rollback", version="v1", previous=gone)
    run.registry.move_alias("production", "v1", expected=gone)
    run.registry.record(entry, Rollback(target=champion, previous=gone, reason="slow", triggered_by="me"))

    change = detect(OTHER, open_run(tmp_path, "run-3"), SNAPSHOT)

    assert (change.changed, change.withdrawn) == (False, gone)
    text = unchanged_text(change, dry_run=False)
    assert text.startswith("BLOCKED: CSV, settings and code are those of v2, which was rolled back from.")
    assert run.registry.history()[-1].verdict == "unchanged"
    assert detect(OTHER, replace(open_run(tmp_path, "run-4"), force=True), SNAPSHOT).changed


def test_an_encoder_that_cannot_be_used_ends_the_run_before_any_work(tmp_path):
    encoder = write_tiny_encoder(tmp_path / "encoder", ["cats", "cats"])
    config = Config(encoder=EncoderConfig(source=str(encoder), max_tokens=16))

    with pytest.raises(ConfigError, match="the tokens 5 and 6 of the vocabulary are the same"):
        detect(config, open_run(tmp_path), SNAPSHOT)
