from dataclasses import replace

import pytest

from ml.config import Config, EncoderConfig, ScoreConfig, SourceConfig, ValidateConfig
from ml.config.redaction import public_name, public_settings, source_name


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
