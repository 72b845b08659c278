"""The digests of a run's inputs."""

from ml.config import Config, RetentionConfig, SourceConfig, TrainConfig, ValidateConfig
from ml.fingerprint import code_digest, code_version, inputs_of


def test_the_source_and_the_retention_do_not_count():
    config = Config(source=SourceConfig(uri="elsewhere.csv"), retention=RetentionConfig(predecessors=9))

    assert inputs_of(config, "1" * 64) == inputs_of(Config(), "1" * 64)


def test_a_setting_counts():
    config = Config(train=TrainConfig(seed=43))

    assert inputs_of(config, "1" * 64).config != inputs_of(Config(), "1" * 64).config


def test_the_contents_of_the_suites_count(tmp_path):
    suite = tmp_path / "suite.json"
    config = Config(validate=ValidateConfig(raw_suite=str(suite)))
    suite.write_text("{}")
    before = inputs_of(config, "1" * 64)

    suite.write_text('{"name": "raw"}')

    assert inputs_of(config, "1" * 64).suites != before.suites


def test_a_suite_that_is_not_there_is_left_for_the_validation_to_report(tmp_path):
    config = Config(validate=ValidateConfig(raw_suite=str(tmp_path / "nonesuch.json")))

    assert inputs_of(config, "1" * 64).suites != inputs_of(Config(), "1" * 64).suites


def test_the_code_version_is_a_sha256_that_stays():
    assert code_version() == code_version()
    assert len(bytes.fromhex(code_version())) == 32


CODE = "def double(x):\n    return 2 * x\n"
TOLD = '"""A module."""\n\n\ndef double(x):  # twice\n    """Twice as much."""\n    return (2 *\n            x)\n'


def test_comments_docstrings_and_layout_are_no_code():
    assert code_digest(TOLD) == code_digest(CODE)


def test_a_number_and_a_text_that_is_used_are_code():
    assert code_digest(CODE.replace("2", "3")) != code_digest(CODE)
    assert code_digest('NAME = "a"') != code_digest('NAME = "b"')


def test_code_that_decides_no_result_does_not_count():
    assert code_version(("training", "metrics.py")) != code_version(("training",))
    assert code_version() != code_version(("training",))


def test_how_often_a_training_is_saved_does_not_count():
    config = Config(train=TrainConfig(checkpoint_minutes=1.0, keep_checkpoints_days=1.0))

    assert inputs_of(config, "1" * 64) == inputs_of(Config(), "1" * 64)
