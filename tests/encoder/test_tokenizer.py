import numpy as np
import pytest
import tensorflow as tf

from ml.encoder.tokenizer import TokenizedTexts, Tokenizer, encoder_inputs
from ml.errors import ConfigError

VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "why", "do", "cat", "##s", "sleep", "?")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(VOCABULARY, lower_case=True, max_tokens=6)


def test_a_text_becomes_word_pieces_between_start_and_end(tokenizer):
    assert tokenizer(tf.constant(["Cats sleep"])).to_list() == [[2, 6, 7, 8, 3]]


def test_a_word_that_no_pieces_make_is_unknown(tokenizer):
    assert tokenizer(tf.constant(["why zebras?"])).to_list() == [[2, 4, 1, 9, 3]]


def test_a_long_text_is_cut_and_still_ends(tokenizer):
    assert tokenizer(tf.constant(["why do cats sleep ?"])).to_list() == [[2, 4, 5, 6, 7, 3]]


def test_an_empty_text_is_start_and_end(tokenizer):
    assert tokenizer(tf.constant([""])).to_list() == [[2, 3]]


def test_case_counts_for_a_cased_vocabulary():
    cased = Tokenizer(VOCABULARY, lower_case=False, max_tokens=6)
    assert cased(tf.constant(["Why why"])).to_list() == [[2, 1, 4, 3]]


def test_texts_in_bulk_lie_end_to_end(tokenizer):
    tokenized = tokenizer.tokenize(["why", "", "do cats"])
    assert tokenized.token_ids.tolist() == [2, 4, 3, 2, 3, 2, 5, 6, 7, 3]
    assert tokenized.row_splits.tolist() == [0, 3, 5, 10]
    assert tokenized.lengths(np.arange(3)).tolist() == [3, 2, 5]


@pytest.mark.parametrize("lower_case", [True, False])
def test_in_bulk_a_text_has_the_tokens_that_the_graph_gives_it(lower_case):
    tokenizer = Tokenizer(VOCABULARY, lower_case=lower_case, max_tokens=6)
    texts = [
        "Why do CATS sleep?",
        "wh\u00fd\u0301 do",
        "\tcats\nsleep\x01",
        "",
        "\u200bdo",
        "why" * 9,
        "\ufffd",
        "d\x7fo",
    ]
    expected = [ids for text in texts for ids in tokenizer(tf.constant([text])).to_list()]
    tokens = tokenizer.tokenize(texts)
    assert [ids.tolist() for ids in np.split(tokens.token_ids, tokens.row_splits[1:-1])] == expected


def test_more_texts_than_a_chunk_keep_their_order(tokenizer, monkeypatch):
    monkeypatch.setattr("ml.encoder.tokenizer.CHUNK_TEXTS", 2)
    assert tokenizer.tokenize(["why", "do", "sleep"]).token_ids.tolist() == [2, 4, 3, 2, 5, 3, 2, 8, 3]


def test_texts_that_come_some_at_a_time_lie_in_a_file(tokenizer, tmp_path):
    tokenized = tokenizer.tokenize_to(tmp_path / "ids", iter([["why", ""], ["do cats"]]), 3)
    assert isinstance(tokenized.token_ids, np.memmap)
    assert tokenized.token_ids.tolist() == tokenizer.tokenize(["why", "", "do cats"]).token_ids.tolist()
    assert tokenized.padded(np.array([2]), 4)[0].tolist() == [[2, 5, 6, 7]]


def test_shards_read_as_one(tokenizer, tmp_path):
    texts = [["why", ""], ["do cats"], ["sleep"]]
    made = [tokenizer.tokenize_to(tmp_path / str(number), iter([some]), 2) for number, some in enumerate(texts)]
    shards, whole = TokenizedTexts.of_shards(made), tokenizer.tokenize([text for some in texts for text in some])
    rows = np.array([3, 0, 2, 1, 2])
    assert len(shards) == len(whole) == 4
    assert [each.tolist() for each in shards.padded(rows, 5)] == [each.tolist() for each in whole.padded(rows, 5)]


def test_no_texts_are_no_tokens(tokenizer):
    assert len(tokenizer.tokenize([])) == 0


def test_rows_are_padded_in_the_order_asked_for(tokenizer):
    ids, mask = tokenizer.tokenize(["why", "", "do cats"]).padded(np.array([2, 0]), 6)
    assert ids.tolist() == [[2, 5, 6, 7, 3, 0], [2, 4, 3, 0, 0, 0]]
    assert mask.tolist() == [[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0]]


def test_the_graph_pads_to_the_longest_text(tokenizer):
    inputs = encoder_inputs(tokenizer(tf.constant(["why do", "why"])))
    assert inputs["input_word_ids"].numpy().tolist() == [[2, 4, 5, 3], [2, 4, 3, 0]]
    assert inputs["input_mask"].numpy().tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert inputs["input_type_ids"].numpy().tolist() == [[0, 0, 0, 0], [0, 0, 0, 0]]


def test_a_vocabulary_without_the_special_tokens_is_refused():
    with pytest.raises(ConfigError, match=r"lacks \[PAD\], \[SEP\]"):
        Tokenizer(("[UNK]", "[CLS]", "why"), lower_case=True, max_tokens=6)
