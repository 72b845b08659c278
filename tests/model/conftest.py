"""A tiny BERT in both layouts."""

from pathlib import Path

import pytest

from tests.tiny import write_tiny_encoder, write_tiny_module

WORDS = ("why", "how", "do", "cats", "dogs", "people", "good", "bad", "sleep", "bark", "##s", "?")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Hugging Face layout."""
    return write_tiny_encoder(tmp_path_factory.mktemp("huggingface"), WORDS)


@pytest.fixture(scope="session")
def tiny_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TF-Hub layout."""
    folder = tmp_path_factory.mktemp("hub")
    return write_tiny_module(folder, write_tiny_encoder(folder / "encoder", WORDS, activation="gelu_new"))
