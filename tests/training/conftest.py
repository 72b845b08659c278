"""Train an encoder of one layer, and reset the number format after each test: other tests build encoders in float32."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import tf_keras

from tests.tiny import ONE_LAYER, WORDS, write_tiny_encoder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a tiny encoder in the Hugging Face layout, with weights from which it learns well."""
    return write_tiny_encoder(tmp_path_factory.mktemp("huggingface"), WORDS, spread=0.05, sizes=ONE_LAYER)


@pytest.fixture(autouse=True)
def _float32_again() -> Iterator[None]:
    yield
    tf_keras.mixed_precision.set_global_policy("float32")
