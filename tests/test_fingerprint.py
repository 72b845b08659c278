"""The digests of a run's inputs."""

import pytest

from ml.config import PROJECT, Config, EncoderConfig, RetentionConfig, SourceConfig, TrainConfig, ValidateConfig
from ml.fingerprint import code_digest, code_version, inputs_of, library_versions, training_digest
from ml.records import NoChampion
from tests.tiny import write_tiny_encoder


def test_the_source_and_the_retention_do_not_count():
    config = Config(source=SourceConfig(uri="elsewhere.csv"), retention=RetentionConfig(predecessors=9))

    assert inputs_of(config, "1" * 64, NoChampion()) == inputs_of(Config(), "1" * 64, NoChampion())


def test_a_setting_counts():
    config = Config(train=TrainConfig(seed=43))

    assert inputs_of(config, "1" * 64, NoChampion()).config != inputs_of(Config(), "1" * 64, NoChampion()).config


def test_the_contents_of_the_suites_count(tmp_path):
    suite = tmp_path / "suite.json"
    config = Config(validate=ValidateConfig(raw_suite=str(suite)))
    suite.write_text("{}")
    before = inputs_of(config, "1" * 64, NoChampion())

    suite.write_text('{"name": "raw"}')

    assert inputs_of(config, "1" * 64, NoChampion()).suites != before.suites


def test_a_suite_that_is_not_there_is_left_for_the_validation_to_report(tmp_path):
    config = Config(validate=ValidateConfig(raw_suite=str(tmp_path / "nonesuch.json")))

    assert inputs_of(config, "1" * 64, NoChampion()).suites != inputs_of(Config(), "1" * 64, NoChampion()).suites


def test_the_code_version_is_a_sha256_that_stays():
    assert code_version() == code_version()
    assert len(bytes.fromhex(code_version())) == 32


def test_an_encoder_counts_by_its_content_wherever_it_lies(tmp_path):
    for name in ("one", "other"):
        write_tiny_encoder(tmp_path / name / "encoder", ["cats"])
    settings = [Config(encoder=EncoderConfig(source=str(tmp_path / name / "encoder"))) for name in ("one", "other")]
    inputs, trainings = ({how(each) for each in settings} for how in (all_inputs, training_digest))
    assert (len(inputs), len(trainings)) == (1, 1)

    (tmp_path / "other" / "encoder" / "tokenizer_config.json").write_text('{"do_lower_case": false}')

    assert all_inputs(settings[1]).encoder != all_inputs(settings[0]).encoder
    assert training_digest(settings[1]) != training_digest(settings[0])


def test_a_suite_counts_by_its_content_wherever_it_lies(tmp_path):
    copy = tmp_path / "copy.json"
    copy.write_bytes((PROJECT / "expectations" / "raw.json").read_bytes())

    assert all_inputs(Config(validate=ValidateConfig(raw_suite=str(copy)))) == all_inputs(Config())


@pytest.mark.parametrize(
    ("place", "other"),
    [("importlib.metadata.version", lambda name: "0.0.1"), ("unicodedata.unidata_version", "1.1.5")],
    ids=["a package", "Unicode"],
)
def test_another_version_of_a_library_counts(monkeypatch, place, other):
    before = all_inputs(Config())
    monkeypatch.setattr(place, other)
    library_versions.cache_clear()

    assert all_inputs(Config()).libraries != before.libraries
    library_versions.cache_clear()


def test_how_often_a_checkpoint_is_kept_decides_nothing():
    often = Config(train=TrainConfig(checkpoint_minutes=1, keep_checkpoints_days=1))

    assert (all_inputs(often), training_digest(often)) == (all_inputs(Config()), training_digest(Config()))


def all_inputs(config):
    return inputs_of(config, "1" * 64, NoChampion())


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
