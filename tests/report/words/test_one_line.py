"""A list in an error's text becomes one line that can be read."""

import pytest

from ml.report.words.one_line import one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("one word", "one word"),
        ("2 failed:\n  - labels: bad\n  - ids: twice", "2 failed: labels: bad; ids: twice"),
        ("a\n b - c", "a b - c"),
    ],
)
def test_a_text_becomes_one_line(text: str, line: str) -> None:
    assert one_line(text) == line
