import random

import pyarrow as pa
import pyarrow.compute as pc

from ml.data.text_measures import damaged, words


def test_words_are_what_white_space_separates():
    texts = pa.chunked_array(
        [["", " ", None, "why", " why  not\n"], [], ["a\tb\x0cc\rd", "no\u00a0break", "猫 猫"]], pa.string()
    )
    assert words(texts).to_pylist() == [0, 0, None, 1, 2, 4, 1, 2]


def test_words_are_counted_as_a_regular_expression_does_in_parts_of_a_column_too():
    pick = random.Random(1)
    texts = ["".join(pick.choices("a \t\n\x0b\x0c\ré\u2003猫", k=pick.randrange(8))) for _ in range(3000)]
    column = pa.chunked_array([pa.array(texts).slice(7, 900), pa.array(texts[907:])])
    assert words(column).to_pylist() == pc.count_substring_regex(column, r"\S+").to_pylist()


def test_only_a_wrong_decoding_is_damage():
    texts = pa.chunked_array([["plain", "caf\u00e9", "caf\u00c3\u00a9", "it\u00e2\u20ac\u2122s", "\ufffd", None, ""]])
    assert damaged(texts).to_pylist() == [0, 0, 1, 1, 1, None, 0]
