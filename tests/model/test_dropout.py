import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from ml.model.dropout import DropoutMasks, HashedMasks, Masks

ROWS = tf.ones([4, 64])


@pytest.fixture
def model() -> tf_keras.Model:
    inputs = tf_keras.Input((64,))
    layers = [tf_keras.layers.Dropout(0.5, name=name)(inputs) for name in ("first", "second")]
    return tf_keras.Model(inputs, layers)


def draw(masks: DropoutMasks, model: tf_keras.Model, number: int) -> np.ndarray:
    masks.draw = tf.constant(number, tf.int64)
    return np.stack(model(ROWS, training=True))


def test_the_same_draw_gives_the_same_masks_and_another_one_others(model):
    masks = DropoutMasks(model, seed=42)
    before = draw(masks, model, 7)
    assert not np.array_equal(draw(masks, model, 8), before)
    np.testing.assert_array_equal(draw(masks, model, 7), before)


def test_two_layers_have_different_masks_and_so_has_another_seed(model):
    first, second = draw(DropoutMasks(model, seed=42), model, 7)
    assert not np.array_equal(first, second)
    assert not np.array_equal(draw(DropoutMasks(model, seed=43), model, 7)[0], first)


def test_half_of_the_values_are_dropped_and_the_others_doubled(model):
    kept = draw(DropoutMasks(model, seed=42), model, 7)
    assert set(np.unique(kept)) == {0.0, 2.0}
    assert 0.4 < np.mean(kept > 0) < 0.6


@pytest.mark.parametrize("kind", [Masks, HashedMasks])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_a_mask_drops_its_rate_and_scales_the_others_so_that_the_mean_stays(kind, rate):
    dropped = kind(tf.constant([7, 42], tf.int64)).drop(tf.ones([999, 101]), rate).numpy()
    assert np.mean(dropped == 0) == pytest.approx(rate, abs=0.005)
    np.testing.assert_allclose(dropped[dropped != 0], 1 / (1 - rate), rtol=1e-4)


@pytest.mark.parametrize("kind", [Masks, HashedMasks])
def test_each_mask_of_a_pass_is_another_and_a_pass_of_the_same_seed_has_the_same(kind):
    first, again, other = (kind(tf.constant([draw, 42], tf.int64)) for draw in (7, 7, 8))
    one, two = (first.drop(ROWS, 0.5).numpy() for _ in range(2))
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(again.drop(ROWS, 0.5), one)
    assert not np.array_equal(other.drop(ROWS, 0.5), one)


def test_hashed_masks_of_neighbouring_values_rows_layers_steps_and_seeds_are_independent():
    seeds = [(draw, seed) for draw in (7, 8) for seed in (42, 43)]
    passes = [HashedMasks(tf.constant(seed, tf.int64)) for seed in seeds]
    masks = np.stack([one.drop(tf.ones([256, 256]), 0.5).numpy() > 0 for one in passes for _ in range(3)])
    pairs = [(masks, np.roll(masks, 1, axis)) for axis in (0, 1, 2)]  # another mask, another row, another column
    pairs += [(masks[first], masks[second]) for first in range(12) for second in range(first)]
    for one, other in pairs:
        assert np.mean(one == other) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("kind", [Masks, HashedMasks])
def test_a_rate_of_zero_drops_nothing(kind):
    np.testing.assert_array_equal(kind(tf.constant([7, 42], tf.int64)).drop(ROWS, 0.0), ROWS)
