"""The digests of a run's inputs."""

from ml.config import Config, RetentionConfig, SourceConfig, TrainConfig, ValidateConfig
from ml.fingerprint import code_version, inputs_of


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
