from dataclasses import replace

import pytest

from ml.config import Config, EncoderConfig, SourceConfig, ValidateConfig
from ml.config.redaction import public_name, public_settings


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
    )
    shown = public_settings(private)
    assert (shown["source"]["uri"], shown["encoder"]["source"]) == ("https://host.example/train.csv", "bert")
    assert shown["validate"]["raw_suite"] == "raw.json"
    assert shown["train"]["epochs"] == 2
    assert not [word for word in ("secret", "someone") if word in str(shown)]
