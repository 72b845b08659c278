import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from ml.encoder.bert import ACTIVATIONS, PretrainedBert, assign_weights, build_bert
from ml.encoder.pretrained import build_encoder, build_tokenizer, read_encoder
from ml.encoder.tfhub import PretrainedModule
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


def test_a_module_that_computes_otherwise_goes_through_the_hub_layer(tiny_module, monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, "gelu_new", tf.nn.relu)
    pretrained = read_encoder(str(tiny_module))
    assert isinstance(pretrained, PretrainedModule)
