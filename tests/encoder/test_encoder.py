import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from ml.encoder.bert import ACTIVATIONS, assign_weights, build_bert
from ml.encoder.pretrained import build_encoder, build_tokenizer, read_encoder
from ml.encoder.tfhub import PretrainedModule
from ml.encoder.weights import PretrainedBert
from ml.errors import ConfigError
from tests.tiny import write_tiny_encoder


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return write_tiny_encoder(tmp_path / "encoder", ["cats", "sleep"])


@pytest.fixture
def module(tiny_module: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_module, tmp_path / "module"))


def set_config(encoder: Path, **changes: object) -> None:
    path = encoder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_folder_without_a_vocabulary_is_refused(encoder):
    (encoder / "vocab.txt").unlink()
    with pytest.raises(ConfigError, match="has no vocabulary"):
        read_encoder(str(encoder))


def test_a_vocabulary_of_the_wrong_size_is_refused(encoder):
    (encoder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\ncats\n")
    with pytest.raises(ConfigError, match="5 tokens, the encoder 6 word embeddings"):
        read_encoder(str(encoder))


def test_more_tokens_than_positions_are_refused(encoder):
    with pytest.raises(ConfigError, match="65 tokens are more than the encoder's 64 positions"):
        build_tokenizer(read_encoder(str(encoder)), 65)


def test_a_module_whose_vocabulary_file_is_gone_is_refused(module):
    (module / "assets" / "vocab.txt").unlink()
    with pytest.raises(ConfigError, match="has no vocabulary"):
        read_encoder(str(module))


def test_a_module_with_a_vocabulary_of_the_wrong_size_is_refused(module):
    (module / "assets" / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n")
    with pytest.raises(ConfigError, match="4 tokens, the encoder 16 word embeddings"):
        read_encoder(str(module))


def test_a_saved_model_that_is_no_encoder_is_refused(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match="module has no vocabulary"):
        read_encoder(str(tmp_path / "empty"))


def test_weights_of_another_size_than_the_config_are_refused(encoder):
    set_config(encoder, intermediate_size=48)
    with pytest.raises(ConfigError, match=r"intermediate\.dense\.weight is of shape \(32, 16\)"):
        read_encoder(str(encoder))


def test_a_missing_tensor_is_named(encoder):
    tensors = load_file(encoder / "model.safetensors")
    del tensors["pooler.dense.bias"]
    save_file(tensors, encoder / "model.safetensors")
    with pytest.raises(ConfigError, match=r"pooler\.dense\.bias is missing"):
        read_encoder(str(encoder))


def test_damaged_weights_are_refused(encoder):
    (encoder / "model.safetensors").write_bytes(b"<html>")
    with pytest.raises(ConfigError, match=r"model\.safetensors is missing or damaged"):
        read_encoder(str(encoder))


def test_another_architecture_is_refused(encoder):
    set_config(encoder, model_type="roberta")
    with pytest.raises(ConfigError, match=r"not the config\.json of a BERT"):
        read_encoder(str(encoder))


def test_a_config_without_sizes_is_refused(encoder):
    (encoder / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="no whole number vocab_size"):
        read_encoder(str(encoder))


def test_the_names_of_older_checkpoints_are_understood(encoder):
    expected = read_encoder(str(encoder)).weights
    old = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in load_file(encoder / "model.safetensors").items()
    }
    save_file(old, encoder / "model.safetensors")
    found = read_encoder(str(encoder)).weights
    assert all((found[name] == expected[name]).all() for name in expected)


def test_the_layer_norms_take_their_epsilon_from_the_config(encoder):
    set_config(encoder, layer_norm_eps=1e-5)
    model = build_encoder(read_encoder(str(encoder)))
    assert {layer.epsilon for layer in model.submodules if hasattr(layer, "epsilon")} == {1e-5}


def test_a_sentence_encoder_gives_the_mean_of_its_tokens(encoder):
    (encoder / "1_Pooling").mkdir()
    (encoder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    pretrained = read_encoder(str(encoder))
    inputs = {
        "input_word_ids": tf.constant([[2, 4, 5, 3], [2, 4, 3, 0]]),
        "input_mask": tf.constant([[1, 1, 1, 1], [1, 1, 1, 0]]),
        "input_type_ids": tf.zeros([2, 4], tf.int32),
    }
    bert = build_bert(pretrained.sizes)
    assign_weights(bert, pretrained.weights)
    tokens = bert(inputs)["sequence_output"].numpy()
    expected = [tokens[0].mean(axis=0), tokens[1, :3].mean(axis=0)]
    np.testing.assert_allclose(build_encoder(pretrained)(inputs)["pooled_output"], expected, atol=1e-5)


def test_nothing_at_the_source_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no encoder at the source"):
        read_encoder(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["no-such-package-anywhere", "numpy"])
def test_a_package_without_an_encoder_is_refused(name):
    with pytest.raises(ConfigError, match=f"no installed package '{name}'"):
        read_encoder(f"package:{name}")


def test_a_module_of_known_variables_becomes_a_native_encoder(tiny_module):
    pretrained = read_encoder(str(tiny_module))
    assert isinstance(pretrained, PretrainedBert)
    assert (pretrained.sizes.layers, pretrained.sizes.heads, pretrained.lower_case) == (2, 2, True)


def test_a_module_that_computes_otherwise_goes_through_the_hub_layer_and_the_log_says_so(
    tiny_module, monkeypatch, caplog
):
    caplog.set_level("INFO", logger="ml")
    monkeypatch.setitem(ACTIVATIONS, "gelu_new", tf.nn.relu)
    pretrained = read_encoder(str(tiny_module))
    assert isinstance(pretrained, PretrainedModule)
    assert "hub.KerasLayer, in float32" in caplog.text


def write(encoder: Path, file: str, **settings: object) -> None:
    (encoder / file).parent.mkdir(exist_ok=True)
    (encoder / file).write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("settings", "pooling"),
    [
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": ["mean"]}, "mean"),
        ({"pooling_mode": "cls"}, "first token"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "first token"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}, "mean"),
    ],
)
def test_the_pooling_is_read_as_older_and_newer_releases_write_it(encoder, settings, pooling):
    write(encoder, "1_Pooling/config.json", **settings)
    assert read_encoder(str(encoder)).pooling == pooling


@pytest.mark.parametrize(
    ("file", "settings", "named"),
    [
        ("1_Pooling/config.json", {"pooling_mode": "max"}, "pooling_mode"),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", "max"]}, "pooling_mode"),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pooling_mode"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "pooling_mode"),
        ("tokenizer_config.json", {"do_lower_case": "yes"}, "do_lower_case"),
        ("tokenizer_config.json", {"do_lower_case": True, "strip_accents": False}, "strip_accents"),
        ("tokenizer_config.json", {"do_lower_case": False, "strip_accents": True}, "strip_accents"),
        ("tokenizer_config.json", {"tokenize_chinese_chars": False}, "tokenize_chinese_chars"),
        ("tokenizer_config.json", {"tokenizer_class": "BertJapaneseTokenizer"}, "tokenizer_class"),
        ("tokenizer_config.json", {"unk_token": {"content": "<unk>"}}, "unk_token"),
        ("tokenizer.json", {"normalizer": {"type": "Sequence", "normalizers": []}}, "type"),
        ("tokenizer.json", {"normalizer": {"type": "BertNormalizer", "strip_accents": False}}, "strip_accents"),
        ("tokenizer.json", {"normalizer": {"clean_text": False}}, "clean_text"),
        ("tokenizer.json", {"pre_tokenizer": {"type": "Whitespace"}}, "type"),
        ("tokenizer.json", {"model": {"type": "BPE"}}, "type"),
        ("tokenizer.json", {"model": {"vocab": {"[PAD]": 0, "cats": 2}}}, "vocab"),
        ("tokenizer.json", {"normalizer": "BertNormalizer"}, "normalizer or model is no object"),
        ("modules.json", {}, "modules"),
        ("modules.json", {"0": "Transformer"}, "not a list of modules"),
    ],
)
def test_a_setting_that_would_change_the_result_is_refused_by_name(encoder, file, settings, named):
    write(encoder, file, **settings)
    with pytest.raises(ConfigError, match=named) as raised:
        read_encoder(str(encoder))
    assert file in raised.value.where


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("position_embedding_type", "relative_key"),
        ("is_decoder", True),
        ("pruned_heads", {"0": [1]}),
        ("hidden_act", ["gelu"]),
        ("hidden_act", "silu"),
        ("layer_norm_eps", "1e-12"),
        ("hidden_dropout_prob", 1.5),
        ("attention_probs_dropout_prob", None),
        ("num_hidden_layers", -1),
        ("num_attention_heads", 3),
        ("hidden_size", True),
    ],
)
def test_a_value_that_no_bert_has_is_refused_by_name(encoder, key, value):
    set_config(encoder, **{key: value})
    with pytest.raises(ConfigError, match=key):
        read_encoder(str(encoder))


def test_a_cased_tokenizer_is_read_from_either_file(encoder):
    write(encoder, "tokenizer.json", normalizer={"type": "BertNormalizer", "lowercase": False})
    assert not read_encoder(str(encoder)).lower_case
    write(encoder, "tokenizer_config.json", do_lower_case=False)
    assert not read_encoder(str(encoder)).lower_case
    write(encoder, "tokenizer_config.json", do_lower_case=True)
    with pytest.raises(ConfigError, match="do_lower_case contradicts the normalizer"):
        read_encoder(str(encoder))


def test_sentences_that_become_lower_case_before_a_cased_tokenizer_are_refused(encoder):
    write(encoder, "tokenizer_config.json", do_lower_case=False)
    write(encoder, "sentence_bert_config.json", do_lower_case=True)
    with pytest.raises(ConfigError, match=r"do_lower_case contradicts tokenizer_config\.json"):
        read_encoder(str(encoder))


def test_two_vocabularies_that_differ_are_refused(encoder):
    write(encoder, "tokenizer.json", model={"type": "WordPiece", "vocab": {"[PAD]": 0, "[UNK]": 1}})
    with pytest.raises(ConfigError, match=r"vocab\.txt and tokenizer\.json have different tokens"):
        read_encoder(str(encoder))


def test_without_a_vocabulary_file_that_of_the_tokenizer_is_taken(encoder):
    expected = read_encoder(str(encoder)).vocabulary
    write(encoder, "tokenizer.json", model={"type": "WordPiece", "vocab": {t: i for i, t in enumerate(expected)}})
    assert read_encoder(str(encoder)).vocabulary == expected
    (encoder / "vocab.txt").unlink()
    assert read_encoder(str(encoder)).vocabulary == expected


def test_another_layer_of_a_sentence_encoder_is_refused(encoder):
    types = ("Transformer", "Pooling", "Dense")
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in types]
    (encoder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ConfigError, match="a module other than Transformer, Pooling, Normalize"):
        read_encoder(str(encoder))


def test_dropout_of_attention_and_output_are_both_read(encoder):
    set_config(encoder, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3)
    model = build_encoder(read_encoder(str(encoder)))
    assert {layer.rate for layer in model.submodules if hasattr(layer, "rate")} == {0.0, 0.2, 0.3}


def test_a_vocabulary_in_latin_1_is_refused(encoder):
    (encoder / "vocab.txt").write_bytes("[PAD]\n[UNK]\n[CLS]\n[SEP]\ncaf\xe9\nsleep\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_encoder(str(encoder))


def test_a_token_that_occurs_twice_is_refused(encoder):
    (encoder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\ncats\ncats\n")
    with pytest.raises(ConfigError, match="the tokens 5 and 6 of the vocabulary are the same"):
        read_encoder(str(encoder))


def change_tensors(encoder: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    tensors = load_file(encoder / "model.safetensors")
    change(tensors)
    save_file(tensors, encoder / "model.safetensors")


def test_an_encoder_without_a_pooler_gives_the_vector_of_its_first_token(encoder):
    def drop_the_pooler(tensors):
        for name in ("pooler.dense.weight", "pooler.dense.bias"):
            del tensors[name]

    change_tensors(encoder, drop_the_pooler)
    pretrained = read_encoder(str(encoder))
    inputs = {"input_word_ids": tf.constant([[2, 4, 5, 3]]), "input_mask": tf.ones([1, 4], tf.int32)}
    inputs["input_type_ids"] = tf.zeros([1, 4], tf.int32)
    bert = build_bert(pretrained.sizes)
    assign_weights(bert, pretrained.weights)
    expected = bert(inputs)["sequence_output"][:, 0]
    np.testing.assert_allclose(build_encoder(pretrained)(inputs)["pooled_output"], expected, atol=1e-5)


def test_embeddings_that_pad_the_table_to_a_multiple_of_eight_need_no_token(encoder):
    def pad(tensors):
        words = tensors["embeddings.word_embeddings.weight"]
        tensors["embeddings.word_embeddings.weight"] = np.pad(words, [(0, 2), (0, 0)])

    change_tensors(encoder, pad)
    set_config(encoder, vocab_size=8)
    pretrained = read_encoder(str(encoder))
    assert (len(pretrained.vocabulary), pretrained.sizes.vocabulary) == (6, 8)
    build_encoder(pretrained)


@pytest.mark.parametrize("values", [np.full(16, np.nan, np.float32), np.zeros(16, np.int8)])
def test_weights_that_are_no_numbers_or_quantised_are_refused(encoder, values):
    change_tensors(encoder, lambda tensors: tensors.update({"pooler.dense.bias": values}))
    with pytest.raises(ConfigError, match=r"pooler\.dense\.bias has values that are no finite"):
        read_encoder(str(encoder))


def test_the_log_says_that_a_native_encoder_trains(encoder, caplog):
    caplog.set_level("INFO", logger="ml")
    read_encoder(str(encoder))
    assert "native BertEncoder" in caplog.text
