import numpy as np
import pytest
import tensorflow as tf

from ml.config import TrainConfig
from ml.encoder.pretrained import read_encoder
from ml.encoder.tokenizer import TokenizedTexts
from ml.training.batches import PlacedBatch, place, place_ahead, scoring_batches, training_batches
from ml.training.hardware import Runtime
from ml.training.training_step import Trainer
from tests.tiny import ONE_LAYER, WORDS, write_tiny_encoder
from tests.training.replicas import batches as compiled_batches

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


def test_each_batch_arrives_whole_and_in_order():
    made = compiled_batches()[:5]
    found = list(place_ahead(iter(made), place))
    assert len(found) == 5
    for batch, (tensors, rows) in zip(made, found, strict=True):
        tokens, truths, total = tensors
        np.testing.assert_array_equal(tokens, np.stack([batch.ids, batch.mask], 1))
        np.testing.assert_array_equal(truths, np.stack([batch.labels, batch.weights], 1))
        assert float(total) == batch.weights.sum()
        np.testing.assert_array_equal(rows, batch.rows)


def test_batches_are_placed_before_they_are_asked_for_but_not_all_of_them():
    taken = []

    def watched():
        for number, batch in enumerate(compiled_batches()[:20]):
            taken.append(number)
            yield batch

    next(place_ahead(watched(), place))
    assert 1 < len(taken) < 6


def test_what_xla_compiles_trains_the_same_on_batches_that_were_placed_ahead(tmp_path):
    pretrained = read_encoder(str(write_tiny_encoder(tmp_path / "encoder", WORDS, sizes=ONE_LAYER)))
    runtime = Runtime(precision="float32", jit_compile=True, strategy=tf.distribute.get_strategy(), widths=())
    trainer = Trainer(pretrained, TrainConfig(), runtime, total_steps=10)
    variables = [*trainer.classifier.variables, *trainer.optimizer.variables()]
    begun, losses = [variable.numpy() for variable in variables], []
    for ahead in (True, False):
        for variable, value in zip(variables, begun, strict=True):
            variable.assign(value)
        made = compiled_batches((5,))[:2]
        given = list(trainer.ahead(iter(made))) if ahead else made
        assert all(isinstance(batch, PlacedBatch) == ahead for batch in given)
        losses.append([float(trainer.update(batch)) for batch in given])
    assert losses[0] == losses[1]
    assert losses[0][0] != losses[0][1]


def test_without_xla_batches_stay_as_they_are(tmp_path):
    pretrained = read_encoder(str(write_tiny_encoder(tmp_path / "encoder", WORDS, sizes=ONE_LAYER)))
    runtime = Runtime(precision="float32", jit_compile=False, strategy=tf.distribute.get_strategy(), widths=())
    made = compiled_batches()[:3]
    assert list(Trainer(pretrained, TrainConfig(), runtime, total_steps=10).ahead(made)) == made
