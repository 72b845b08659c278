import random

import numpy as np
import pyarrow as pa
import pytest

from ml.data.normalise import normalise, normalise_all, number_texts


@pytest.mark.parametrize(
    "text", ["Why is SOUP hot?", "why   is soup hot", "Why is \uff53\uff4f\uff55\uff50 hot?!", " Why, is_soup: hot "]
)
def test_case_punctuation_and_compatibility_forms_do_not_count(text):
    assert normalise(text) == "why is soup hot"


def test_a_text_without_letters_stands_for_itself():
    assert normalise(" ?! ") == "?!"


@pytest.mark.parametrize("letters", ["aZ9 \t_-?\x1f\x7f", "aB é?ßİ\u0301_", "a\0 ", "? "], ids=ascii)
def test_many_texts_at_once_become_what_each_becomes(letters):
    pick = random.Random(1)
    texts = ["".join(pick.choices(letters, k=pick.randrange(9))) for _ in range(2000)]
    assert normalise_all(pa.array(texts)) == [normalise(text).encode() for text in texts]


def test_texts_with_the_same_hash_are_told_apart():
    hashes = np.array([7, 7, 3, 7, 5], np.uint64)
    batches = [pa.array(["Soup?", "bread", "once"]), pa.array(["SOUP", "twice"])]
    numbers, texts = number_texts(hashes, batches)
    assert texts == 4
    assert numbers[0] == numbers[3]
    assert len(set(numbers.tolist())) == 4
