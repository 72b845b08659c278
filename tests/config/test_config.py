"""Settings: presets, files that extend them, overrides, and the errors for wrong settings."""

import pytest

from ml.config import Config, config_digest
from ml.config.load import load_config
from ml.errors import ConfigError


def test_the_local_preset_is_the_defaults():
    assert load_config("local") == Config()


def test_bert_base_has_the_notebooks_settings():
    config = load_config("bert-base")
    assert (config.train.epochs, config.train.batch_size, config.train.learning_rate) == (5, 32, 2e-5)
    assert (config.train.dropout, config.encoder.max_tokens) == (0.5, 128)
    assert config.train.head_learning_rate_factor == 1
    assert (config.split.train, config.split.validation) == (0.1, 0.01)


def test_a_file_holds_only_what_differs_from_the_preset_it_extends(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('extends = "bert-base"\n[train]\nepochs = 1\n')
    config = load_config(str(file))
    assert (config.train.epochs, config.train.dropout) == (1, 0.5)


def test_an_override_wins_over_the_file():
    config = load_config("local", ["train.epochs=7", "source.uri=a b=c.csv", "validate.parameters.rows_min=3"])
    assert config.train.epochs == 7
    assert config.source.uri == "a b=c.csv"
    assert config.validate.parameters == {"rows_min": 3.0}


def test_the_digest_changes_with_a_setting():
    assert config_digest(load_config("local")) != config_digest(load_config("local", ["train.seed=1"]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=1", "unknown key train.epoch"),
        ("training.epochs=1", "unknown key training"),
        ("train.epochs=two", r"train\.epochs = 'two' cannot be\n.*\n.*valid integer"),
        ("train.epochs=true", "valid integer"),
        ("train.epochs=0", "out of bounds"),
        ("train.learning_rate=nan", "out of bounds"),
        ("split.strategy=sorted", "'hash' or 'random'"),
        ("split.train=0.9", "add up to 1.1"),
        ("policy.slices.mine=length", "is no slice"),
        ("policy.slice_bounds.mine=0.1", "there is no slice 'mine'"),
        ("policy.slice_bounds={'first word why' = 2}", "out of bounds"),
        ("epochs=1", "not an override"),
        ("train.epochs", "not an override"),
        ("train=1", "not an override"),
    ],
)
def test_a_setting_that_cannot_be_is_named(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config("local", [override])


def test_an_unknown_preset_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"name a preset \(bert-base, local\)"):
        load_config("big")


@pytest.mark.parametrize("text", ["[train", "train = 1", 'extends = "nowhere"', "extends = 3"])
def test_a_file_that_is_no_config_is_refused(tmp_path, text):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        load_config(str(file))


def test_files_that_extend_each_other_are_refused(tmp_path):
    file = tmp_path / "loop.toml"
    file.write_text(f'extends = "{file}"')
    with pytest.raises(ConfigError, match="extends itself"):
        load_config(str(file))
