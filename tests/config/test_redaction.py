from dataclasses import replace

import pytest

from ml.config import Config, EncoderConfig, ScoreConfig, SourceConfig, ValidateConfig
from ml.config.load import load_config, preset_of
from ml.config.redaction import public_differences, public_name, public_settings, source_name


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("package:some-encoder", "package:some-encoder"),
        ("https://hub.example/bert/1", "https://hub.example/bert/1"),
        ("https://me:secret@hub.example/bert/1?key=secret", "https://hub.example/bert/1"),
        ("/home/someone/encoders/bert", "bert"),
    ],
)
def test_records_show_no_secret_and_no_folder_of_this_machine(source, name):
    assert public_name(source) == name


def test_settings_are_shown_without_passwords_and_folders():
    private = replace(
        Config(),
        source=SourceConfig(uri="https://me:secret@host.example/train.csv?token=secret"),
        encoder=EncoderConfig(source="/home/someone/bert"),
        validate=ValidateConfig(raw_suite="/home/someone/raw.json"),
        score=ScoreConfig(output="/home/someone/scored.csv", suite="/home/someone/scores.json"),
    )
    shown = public_settings(private)
    assert (shown["source"]["uri"], shown["encoder"]["source"]) == ("https://host.example/train.csv", "bert")
    assert shown["validate"]["raw_suite"] == "raw.json"
    assert (shown["score"]["output"], shown["score"]["suite"]) == ("file:scored.csv", "scores.json")
    assert public_settings(Config())["score"]["output"] == "auto"
    assert shown["train"]["epochs"] == 2
    assert not [word for word in ("secret", "someone") if word in str(shown)]


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("sample:20000", "sample"),
        ("s3://bucket/2026-11-25/train.csv", "s3://bucket/train.csv"),
        ("s3://bucket/2026/11/25/train_20261125T1000.csv.gz", "s3://bucket/train.csv.gz"),
        ("https://user:sesame@host.example/a/train.csv?key=sesame", "https://host.example/a/train.csv"),
        ("/data/of/jane/questions-2026-11.csv", "file:questions.csv"),
    ],
)
def test_a_source_is_called_by_its_address_without_dates_and_digits(uri, name):
    assert source_name(SourceConfig(uri=uri)) == name


def test_a_source_is_called_as_the_settings_say_but_the_sample_is_the_sample():
    assert source_name(SourceConfig(uri="mine.csv", name="weekly export")) == "weekly export"
    assert source_name(SourceConfig(uri="sample:100", name="weekly export")) == "sample"


def test_what_differs_from_the_preset_is_told_without_secrets_and_folders(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text('extends = "bert-base"\n[source]\nuri = "https://me:secret@host/a.csv?key=secret"\n')
    (tmp_path / "weekly.toml").write_text(
        f'extends = "{mine}"\n[train]\nepochs = 2\n[validate.parameters]\nmax_rows = 9\n'
    )
    name = str(tmp_path / "weekly.toml")
    assert preset_of(name) == "bert-base"
    assert public_differences(load_config(name), load_config(preset_of(name))) == {
        "source.uri": "https://host/a.csv",
        "train.epochs": "2",
        "validate.parameters": '{"max_rows": 9.0}',
    }


@pytest.mark.parametrize(("text", "preset"), [("", "local"), ('extends = "local"\n', "local")])
def test_a_file_that_extends_nothing_has_the_settings_of_local(tmp_path, text, preset):
    (tmp_path / "a.toml").write_text(text)
    assert preset_of(str(tmp_path / "a.toml")) == preset
    assert public_differences(load_config(str(tmp_path / "a.toml")), load_config(preset)) == {}
