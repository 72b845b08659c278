from dataclasses import replace

import pytest

from ml.champion.promote import promote
from ml.config import Config, EncoderConfig, PolicyConfig, SourceConfig, TrainConfig
from ml.errors import ConfigError
from ml.fingerprint import inputs_of
from ml.judge.change_detection import detect
from ml.records import NoChampion, RawSnapshot
from tests.judge.examples import compare, judged, open_run, probed, store_model
from tests.tiny import write_tiny_encoder

SNAPSHOT = RawSnapshot(source="file:rows.csv", sha256="1" * 64, rows=3, columns=("qid",), bytes=30, quarantined_rows=0)


@pytest.fixture
def champion(tmp_path):
    """Record a champion that was trained from the snapshot with the default settings and this code."""
    run = open_run(tmp_path, "run-0")
    comparison = compare(store_model(run.store, "first"), NoChampion())
    decision = replace(judged(comparison), inputs=inputs_of(Config(), SNAPSHOT.sha256))
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


def test_an_encoder_that_cannot_be_used_ends_the_run_before_any_work(tmp_path):
    encoder = write_tiny_encoder(tmp_path / "encoder", ["cats", "cats"])
    config = Config(encoder=EncoderConfig(source=str(encoder), max_tokens=16))

    with pytest.raises(ConfigError, match="the tokens 5 and 6 of the vocabulary are the same"):
        detect(config, open_run(tmp_path), SNAPSHOT)
