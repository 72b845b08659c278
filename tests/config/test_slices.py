import pytest

from ml.config.slices import BUILT_IN_SLICES, parse_slice
from ml.errors import ConfigError


@pytest.mark.parametrize(
    ("expression", "inside", "outside"),
    [
        ("words:2-3", "why not", "why"),
        ("words:2-3", "why not now", "why not right now"),
        ("words:3-", "a b c d", "a b"),
        ("first_word:why", '"Why" is that?', "So why is that?"),
        ("first_word:is", "Is it?", "isn it?"),
        (r"contains:https?://", "see HTTP://example.org", "see example.org"),
        ("not contains:cats", "dogs", "Cats"),
        ("words:0-0", "", "why"),
    ],
)
def test_an_expression_says_which_questions_are_in_its_slice(expression, inside, outside):
    predicate = parse_slice("mine", expression)

    assert (predicate(inside), predicate(outside)) == (True, False)


def test_every_question_has_one_built_in_length():
    lengths = [parse_slice(name, each) for name, each in BUILT_IN_SLICES.items() if each.startswith("words")]

    for words in range(60):
        assert sum(predicate("word " * words) for predicate in lengths) == 1


@pytest.mark.parametrize(
    "expression", ["", "words", "words:many", "words:3", "contains:(", "length:3-4", "__import__('os')"]
)
def test_what_is_no_expression_is_named(expression):
    with pytest.raises(ConfigError, match="is no slice"):
        parse_slice("mine", expression)


def test_a_name_that_would_not_fit_a_line_is_refused():
    with pytest.raises(ConfigError, match="at most 24 characters"):
        parse_slice("m" * 25, "words:0-8")
