import os
import time
from dataclasses import replace

import pytest

from ml.champion.retention import mark_underway, retain
from ml.config import Config, RetentionConfig
from ml.errors import LineageError, PromotionPending, RegistryDamaged
from ml.registry.open import open_registry
from ml.steps import run_step
from tests.champion.test_pending_promotions import outage
from tests.judge.examples import compare_next, judged, open_run, probed, store_model

CONFIG = Config(retention=RetentionConfig(predecessors=1))


def promote_next(home, content, run_id, **figures):
    run = open_run(home, run_id)
    comparison = compare_next(run, content, **figures)
    run_step("promote", CONFIG, run, (comparison, judged(comparison), probed(comparison)))
    return comparison.candidate.model


def test_a_promotion_drops_what_retention_does_not_keep_from_registry_and_store(tmp_path, caplog):
    caplog.set_level("INFO")
    models = [promote_next(tmp_path, content, f"run-{content}") for content in ("one", "two", "three")]
    run = open_run(tmp_path)

    with pytest.raises(LineageError, match="retention dropped them"):
        run.registry.fetch("v1")
    assert [run.store.contains("models", model) for model in models] == [False, True, True]
    assert "retention dropped the files of v1" in caplog.text


def test_a_kept_candidate_is_dropped_when_the_next_one_comes(tmp_path):
    promote_next(tmp_path, "one", "run-1")
    kept = promote_next(tmp_path, "two", "run-2", precision=0.6)
    assert open_run(tmp_path).store.contains("models", kept)

    promote_next(tmp_path, "three", "run-3", precision=0.6)

    assert not open_run(tmp_path).store.contains("models", kept)


def still_underway(home, run_id, content):
    """A run that has trained a model, and is between train and promote."""
    run = open_run(home, run_id)
    model = store_model(run.store, content)
    mark_underway(run, model)
    return model


def test_a_model_between_train_and_promote_stays_though_its_version_is_dropped(tmp_path):
    again = promote_next(tmp_path, "again", "run-1", precision=0.1)
    assert still_underway(tmp_path, "run-2", "again") == again

    for number in (3, 4, 5):
        promote_next(tmp_path, f"model {number}", f"run-{number}")
    assert open_run(tmp_path).store.contains("models", again)

    promote_next(tmp_path, "again", "run-2", precision=0.1)
    promote_next(tmp_path, "last", "run-6")
    assert not open_run(tmp_path).store.contains("models", again)


def test_a_run_that_was_abandoned_keeps_its_model_for_two_weeks_only(tmp_path):
    again = promote_next(tmp_path, "again", "run-1", precision=0.1)
    still_underway(tmp_path, "run-2", "again")
    long_ago = time.time() - 15 * 24 * 3600
    os.utime(tmp_path / "store" / "underway" / "run-2" / "model", (long_ago, long_ago))

    promote_next(tmp_path, "next", "run-3")

    assert not open_run(tmp_path).store.contains("models", again)


def test_the_model_of_a_pending_promotion_stays(tmp_path):
    waits = promote_next(tmp_path, "waits", "run-1", precision=0.1)
    run = open_run(tmp_path, "run-2")
    comparison = compare_next(run, "waits", precision=0.1)
    with outage(tmp_path), pytest.raises(PromotionPending):
        run_step("promote", CONFIG, run, (comparison, judged(comparison), probed(comparison)))

    promote_next(tmp_path, "next", "run-3")

    assert open_run(tmp_path).store.contains("models", waits)


def test_a_version_that_tracking_uploaded_stays_until_its_run_is_judged(wandb_server, tmp_path):
    """Tracking logs the model of `train` into the collection where `promote` will register it."""
    run = open_run(tmp_path, "run-1")
    model = still_underway(tmp_path, "run-1", "trained")
    wandb_server.state.put("insincere", {"weights": b"trained"}, model=model, schema=1)
    other = open_run(tmp_path, "run-2")
    other = replace(other, registry=open_registry("wandb://acme/quora/insincere", other.store))
    comparison = compare_next(other, "other")

    run_step("promote", CONFIG, other, (comparison, judged(comparison), probed(comparison)))

    assert run.store.contains("models", model)
    assert "dropped" not in wandb_server.state.version("insincere", "v0").facts


@pytest.mark.parametrize("content", [b"", b"\0\0\0"])
def test_where_the_history_is_lost_no_former_champion_is_dropped(tmp_path, content):
    models = [promote_next(tmp_path, text, f"run-{text}") for text in ("one", "two")]
    run = open_run(tmp_path)
    (tmp_path / "registry" / "history.jsonl").write_bytes(content)

    with pytest.raises(RegistryDamaged):
        retain(run, CONFIG.retention)

    assert [run.store.contains("models", model) for model in models] == [True, True]
    assert [(tmp_path / f"registry/versions/{name}/artifact").is_dir() for name in ("v1", "v2")] == [True, True]
