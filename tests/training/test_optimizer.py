import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from ml.training.optimizer import LazyAdamW, WarmUpLinearDecay, norm_by_shapes


@pytest.mark.parametrize(("step", "rate"), [(0, 0.5), (1, 1.0), (2, 1.0), (3, 0.75), (5, 0.25), (6, 0.0), (9, 0.0)])
def test_the_learning_rate_goes_up_and_down_in_straight_lines(step, rate):
    assert float(WarmUpLinearDecay(1.0, warmup_steps=2, total_steps=6)(step)) == pytest.approx(rate)


def test_without_warm_up_the_rate_only_falls():
    schedule = WarmUpLinearDecay(1.0, warmup_steps=0, total_steps=4)
    assert [float(schedule(step)) for step in range(4)] == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_the_first_step_is_the_rate_long_against_the_gradient():
    kernel = tf.Variable([1.0, 1.0], name="kernel")
    LazyAdamW(0.1, [kernel], weight_decay=0.0).apply_gradients([(tf.constant([3.0, -0.2]), kernel)])
    np.testing.assert_allclose(kernel, [0.9, 1.1], atol=1e-4)


def test_kernels_decay_and_biases_do_not():
    kernel, bias = tf.Variable([2.0], name="kernel"), tf.Variable([2.0], name="bias")
    optimizer = LazyAdamW(0.1, [kernel, bias], weight_decay=0.5)
    optimizer.apply_gradients([(tf.constant([0.0]), kernel), (tf.constant([0.0]), bias)])
    np.testing.assert_allclose(kernel, [1.9])
    np.testing.assert_allclose(bias, [2.0])


def test_the_head_moves_and_decays_at_its_own_rate():
    names = ("head/kernel", "head/bias", "bert/kernel")
    kernel, bias, encoder = (tf.Variable([2.0], name=name) for name in names)
    optimizer = LazyAdamW(0.01, [kernel, bias, encoder], weight_decay=0.5, head_factor=10.0)
    optimizer.apply_gradients([(tf.constant([1.0]), variable) for variable in (kernel, bias, encoder)])
    # Adam's first step is as long as the learning rate; so is a kernel's decay, 0.5 * 2 times the learning rate.
    np.testing.assert_allclose([kernel[0], bias[0], encoder[0]], [2 - 0.1 - 0.1, 2 - 0.1, 2 - 0.01 - 0.01], atol=1e-5)


def test_only_the_embeddings_of_the_batch_move():
    table = tf.Variable(tf.ones([3, 2]), name="embeddings")
    optimizer = LazyAdamW(0.1, [table], weight_decay=0.5)
    for row in (0, 2):
        gradient = tf.IndexedSlices(tf.ones([1, 2]), tf.constant([row]), tf.constant([3, 2]))
        optimizer.apply_gradients([(gradient, table)])
    assert table.numpy()[1].tolist() == [1.0, 1.0]
    np.testing.assert_allclose(table.numpy()[0], [0.9, 0.9], atol=1e-4)


def test_a_table_whose_rows_all_occur_moves_as_with_dense_adam():
    lazy, dense = tf.Variable(tf.ones([2, 2]), name="embeddings"), tf.Variable(tf.ones([2, 2]))
    ours, reference = LazyAdamW(0.1, [lazy], weight_decay=0.0), tf_keras.optimizers.legacy.Adam(0.1, epsilon=1e-6)
    for step in range(1, 4):
        rows = tf.constant([[1.0, -2.0], [0.5, step]])
        # Row 0 occurs twice, and its two gradients add up.
        halves = tf.concat([rows[:1] / 2, rows[1:], rows[:1] / 2], axis=0)
        ours.apply_gradients([(tf.IndexedSlices(halves, tf.constant([0, 1, 0]), tf.constant([2, 2])), lazy)])
        reference.apply_gradients([(rows, dense)])
    np.testing.assert_allclose(lazy, dense, atol=1e-6)


def test_a_dense_gradient_of_a_table_moves_the_rows_that_occur_and_no_other():
    lazy, dense = (tf.Variable(tf.ones([4, 2]), name="word_embeddings/embeddings") for _ in range(2))
    by_rows = LazyAdamW(0.1, [lazy], weight_decay=0.5)
    by_masks = LazyAdamW(0.1, [dense], weight_decay=0.5, dense_tables=True)
    for rows in ([0, 2, 0], [2, 3, 3], [0, 0, 0]):
        gradient = tf.IndexedSlices(tf.constant([[1.0, -2.0], [0.5, 1.0], [3.0, 1.0]]), tf.constant(rows), [4, 2])
        by_rows.apply_gradients([(gradient, lazy)])
        by_masks.apply_gradients([(tf.convert_to_tensor(gradient), dense)])
    np.testing.assert_allclose(dense, lazy, atol=1e-6)
    assert dense.numpy()[1].tolist() == [1.0, 1.0]


def test_the_norm_by_shapes_is_the_global_norm():
    random = np.random.default_rng(0)
    gradients = [tf.constant(random.normal(size=shape), tf.float32) for shape in ((3, 4), (4,), (3, 4), (), (4, 3))]
    assert float(norm_by_shapes(gradients)) == pytest.approx(float(tf.linalg.global_norm(gradients)))
