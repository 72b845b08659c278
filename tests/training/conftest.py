"""Reset the number format after each training test, because other tests build encoders in float32."""

from collections.abc import Iterator

import pytest
import tf_keras


@pytest.fixture(autouse=True)
def _float32_again() -> Iterator[None]:
    yield
    tf_keras.mixed_precision.set_global_policy("float32")
