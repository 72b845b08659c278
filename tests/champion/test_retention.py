import pytest

from ml.champion.promote import promote
from ml.config import Config, RetentionConfig
from ml.errors import LineageError
from tests.judge.examples import compare_next, judged, open_run, probed

CONFIG = Config(retention=RetentionConfig(predecessors=1))


def promote_next(home, content, run_id, **figures):
    run = open_run(home, run_id)
    comparison = compare_next(run, content, **figures)
    promote(CONFIG, run, comparison, judged(comparison), probed(comparison))
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
