import pytest

from ml.data.normalise import normalise


@pytest.mark.parametrize(
    "text", ["Why is SOUP hot?", "why   is soup hot", "Why is \uff53\uff4f\uff55\uff50 hot?!", " Why, is_soup: hot "]
)
def test_case_punctuation_and_compatibility_forms_do_not_count(text):
    assert normalise(text) == "why is soup hot"


def test_a_text_without_letters_stands_for_itself():
    assert normalise(" ?! ") == "?!"
