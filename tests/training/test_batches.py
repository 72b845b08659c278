import numpy as np
import pytest

from ml.encoder.tokenizer import TokenizedTexts
from ml.training.batches import scoring_batches, training_batches

LENGTHS = [3, 9, 4, 8, 5, 7, 6]


@pytest.fixture
def texts() -> TokenizedTexts:
    """Make texts: text i repeats the number i + 1."""
    return TokenizedTexts(
        token_ids=np.repeat(np.arange(1, 8, dtype=np.int32), LENGTHS),
        row_splits=np.concatenate([[0], np.cumsum(LENGTHS)]),
    )


LABELS = np.array([0, 1, 0, 1, 0, 1, 0], np.float32)


def epoch(texts, seed):
    random = np.random.default_rng(seed)
    return list(training_batches(texts, LABELS, batch_size=2, widths=(), random=random))


def test_an_epoch_has_every_row_once(texts):
    rows = [row for batch in epoch(texts, 0) for row in batch.rows]
    assert sorted(rows) == [0, 1, 2, 3, 4, 5, 6]


def test_a_batch_holds_texts_of_similar_length_at_the_width_of_its_longest(texts):
    widths = {tuple(sorted(np.take(LENGTHS, batch.rows))): batch.ids.shape[1] for batch in epoch(texts, 0)}
    assert widths == {(3, 4): 4, (5, 6): 6, (7, 8): 8, (9,): 9}


def test_ids_and_labels_are_those_of_the_rows(texts):
    for batch in epoch(texts, 0):
        assert batch.ids[:, 0].tolist() == (batch.rows + 1).tolist()
        assert batch.labels.tolist() == LABELS[batch.rows].tolist()
        assert batch.mask.sum(axis=1).tolist() == np.take(LENGTHS, batch.rows).tolist()


def test_the_seed_decides_the_order(texts):
    first, same, other = (np.concatenate([batch.rows for batch in epoch(texts, seed)]).tolist() for seed in (0, 0, 1))
    assert first == same
    assert first != other


def test_what_is_skipped_changes_nothing_about_the_rest(texts):
    random = np.random.default_rng(0)
    rest = training_batches(texts, LABELS, batch_size=2, widths=(), random=random, skip=3)
    assert [batch.rows.tolist() for batch in rest] == [batch.rows.tolist() for batch in epoch(texts, 0)[3:]]


def test_with_fixed_widths_there_are_few_shapes_and_rows_without_weight_fill_the_last_batch(texts):
    batches = list(scoring_batches(texts, LABELS, batch_size=3, widths=(4, 8, 9)))
    assert [batch.ids.shape for batch in batches] == [(3, 8), (3, 8), (3, 9)]
    assert [batch.rows.tolist() for batch in batches] == [[0, 2, 4], [6, 5, 3], [1]]
    assert [batch.weights.tolist() for batch in batches] == [[1, 1, 1], [1, 1, 1], [1, 0, 0]]
    assert batches[-1].ids.tolist() == [[2] * 9] * 3


def test_scoring_goes_from_short_to_long(texts):
    batches = scoring_batches(texts, LABELS, batch_size=3, widths=())
    assert [batch.rows.tolist() for batch in batches] == [[0, 2, 4], [6, 5, 3], [1]]
