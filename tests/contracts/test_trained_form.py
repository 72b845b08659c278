"""The forms that are trained on a CPU and on a GPU compute what the BertEncoder computes, forward and backward."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from ml.config import TrainConfig
from ml.encoder.pretrained import build_encoder, read_encoder
from ml.encoder.tfhub import PretrainedModule
from ml.model.classifier import build_classifier
from ml.training.hardware import Runtime
from ml.training.trained_form import CompiledForm, KerasForm, QuickForm, choose_form
from tests.tiny import ONE_LAYER, WORDS, write_tiny_encoder

SETTINGS = TrainConfig(dropout=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder"), WORDS)


@pytest.fixture(scope="module")
def one_layer(tmp_path_factory):
    encoder = write_tiny_encoder(tmp_path_factory.mktemp("one"), WORDS, sizes=ONE_LAYER)
    return read_encoder(str(encoder))


def without_dropout(folder, *, pooling, activation):
    pretrained = read_encoder(str(folder))
    sizes = replace(pretrained.sizes, dropout=0.0, attention_dropout=0.0, activation=activation)
    return replace(pretrained, sizes=sizes, pooling=pooling)


def classifier_of(pretrained):
    return build_classifier(build_encoder(pretrained), dropout=SETTINGS.dropout, seed=1)


def batch(rows):
    random = np.random.default_rng(rows)
    mask = (np.arange(9) < random.integers(3, 10, (rows, 1))).astype(np.int32)
    return tf.constant(random.integers(4, 16, (rows, 9)).astype(np.int32) * mask), tf.constant(mask)


def probabilities_and_gradients(form, classifier, rows):
    with tf.GradientTape() as tape:
        probabilities = form.train(*batch(rows), tf.constant(3, tf.int64))
        loss = tf.reduce_sum(probabilities * np.linspace(-1, 1, rows, dtype=np.float32)[:, None])
    gradients = tape.gradient(loss, classifier.trainable_variables)
    return [probabilities, *(tf.convert_to_tensor(each) for each in gradients)]


@pytest.mark.parametrize(
    ("pooling", "activation", "rows", "parts"),
    [("mean", "gelu", 5, 1), ("first token", "gelu_new", 4, 2), ("pooler", "relu", 5, 1), ("mean", "gelu", 1, 1)],
)
def test_probabilities_and_gradients_are_those_of_the_keras_form(folder, pooling, activation, rows, parts):
    pretrained = without_dropout(folder, pooling=pooling, activation=activation)
    classifier = classifier_of(pretrained)
    found = probabilities_and_gradients(QuickForm(classifier, pretrained, SETTINGS), classifier, rows)
    expected = probabilities_and_gradients(KerasForm(classifier, SETTINGS.seed, parts=parts), classifier, rows)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    for ours, theirs in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(("pooling", "activation"), [("mean", "gelu"), ("first token", "gelu_new"), ("pooler", "gelu")])
def test_what_xla_compiles_has_the_probabilities_and_gradients_of_the_keras_form(folder, pooling, activation):
    pretrained = without_dropout(folder, pooling=pooling, activation=activation)
    classifier = classifier_of(pretrained)
    form = CompiledForm(classifier, pretrained, SETTINGS)
    found = tf.function(lambda: probabilities_and_gradients(form, classifier, 4), jit_compile=True)()
    expected = probabilities_and_gradients(KerasForm(classifier, SETTINGS.seed, parts=1), classifier, 4)
    np.testing.assert_allclose(form.score(*batch(4)), expected[0], atol=1e-6)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_what_xla_compiles_drops_by_the_draw(one_layer):
    form = CompiledForm(classifier_of(one_layer), one_layer, TrainConfig())
    train = tf.function(form.train, jit_compile=True)
    drawn = [train(*batch(6), tf.constant(draw, tf.int64)).numpy() for draw in (7, 7, 8)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.isclose(drawn[0], drawn[2]).any()


def test_dropout_is_that_of_the_draw_in_training_and_there_is_none_in_scoring(one_layer):
    form = QuickForm(classifier_of(one_layer), one_layer, TrainConfig())
    inputs = batch(6)
    drawn = [form.train(*inputs, tf.constant(draw, tf.int64)).numpy() for draw in (7, 7, 8)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.isclose(drawn[0], drawn[2]).any()
    np.testing.assert_array_equal(form.score(*inputs), form.score(*inputs))


@pytest.mark.parametrize("kind", ["quick", "Keras"])
def test_the_parts_of_a_batch_have_masks_of_their_own(one_layer, kind):
    classifier = classifier_of(one_layer)
    form = KerasForm(classifier, 1, parts=2) if kind == "Keras" else QuickForm(classifier, one_layer, TrainConfig())
    ids, mask = (tf.repeat(part, 2, axis=0) for part in batch(1))
    first, second = form.train(ids, mask, tf.constant(7, tf.int64)).numpy()
    assert first != second


@pytest.mark.parametrize(("jit_compile", "form"), [(False, QuickForm), (True, CompiledForm)])
def test_a_native_encoder_is_trained_in_its_quick_form_or_in_that_for_xla(one_layer, jit_compile, form):
    assert type(choose_form(one_layer, classifier_of(one_layer), SETTINGS, runtime(jit_compile))) is form


def test_a_module_that_is_not_native_is_trained_as_keras_computes_it(one_layer, tmp_path):
    module = PretrainedModule(folder=tmp_path, vocabulary=tuple(WORDS), lower_case=True)
    assert type(choose_form(module, classifier_of(one_layer), SETTINGS, runtime(jit_compile=False))) is KerasForm


def runtime(jit_compile):
    return Runtime(precision="float32", jit_compile=jit_compile, strategy=tf.distribute.get_strategy(), widths=())


@pytest.fixture(autouse=True)
def _float32():
    tf_keras.mixed_precision.set_global_policy("float32")
