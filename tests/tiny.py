"""A BERT small enough for tests, in either layout, with fixed random weights; and a config that uses it."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import save_file

WORDS = ("why", "how", "do", "cats", "dogs", "people", "good", "bad", "sleep", "bark", "##s", "?")
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
LAYERS, HEADS, HIDDEN, INTERMEDIATE, POSITIONS = 2, 2, 16, 32, 64


class Sizes(NamedTuple):
    """The sizes of an encoder; the default is the tiny one."""

    layers: int = LAYERS
    heads: int = HEADS
    hidden: int = HIDDEN
    intermediate: int = INTERMEDIATE
    positions: int = POSITIONS


ONE_LAYER = Sizes(layers=1)  # for whole runs: a graph of half the size takes half the time to make


_TOML = """
[encoder]
source = {encoder}
max_tokens = 64

[train]
epochs = 1

[policy]
min_precision = 0.0
min_recall = 0.0
min_average_precision = 0.0
min_gain_over_baseline = -1.0
max_calibration_error = 1.0
min_calibration_slope = -1000.0
min_gain_over_base_rate = -1000.0
resamples = 100
"""
# Whatever else two models differ in, on however busy a machine: what counts is F1.
_F1_ALONE = """
max_slice_fall = 1.0
max_latency_ratio = 100.0
max_memory_ratio = 100.0
max_size_ratio = 100.0

[threshold]
rebase = true
"""
# Params of a training that teaches the encoder of `write_learning_config` more than its config does.
BETTER = {"learning_rate": 0.003, "batch_size": 8, "epochs": 3}


def write_tiny_encoder(
    folder: Path,
    vocabulary: Sequence[str],
    *,
    activation: str = "gelu",
    spread: float = 0.2,
    sizes: Sizes = Sizes(),  # noqa: B008, a tuple never changes
) -> Path:
    """Write `config.json`, `vocab.txt` and `model.safetensors`; the special tokens come before the vocabulary.

    `spread` is the standard deviation of the weights; with small weights the encoder learns better.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokens = [*SPECIAL_TOKENS, *vocabulary]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(_config(len(tokens), activation, sizes)), encoding="utf-8")
    random = np.random.default_rng(0)
    weights = {name: _initial(name, shape, spread, random) for name, shape in _shapes(len(tokens), sizes)}
    save_file(weights, folder / "model.safetensors")
    return folder


def write_tiny_config(folder: Path) -> Path:
    """Write `tiny.toml`: one epoch of a tiny encoder that knows a few words, and a policy that promotes it."""
    words = ["what", "why", "is", "are", "the", "of", "?", "##s"]
    encoder = write_tiny_encoder(folder / "encoder", words, sizes=ONE_LAYER)
    config = folder / "tiny.toml"
    config.write_text(_TOML.format(encoder=json.dumps(str(encoder))), encoding="utf-8")
    return config


def write_learning_config(folder: Path, questions: Path) -> Path:
    """Write such a config with an encoder that knows the words of a CSV, and a policy by which F1 alone must gain."""
    config = write_tiny_config(folder)
    words = re.findall("[a-z]+", questions.read_text(encoding="utf-8").lower())
    write_tiny_encoder(folder / "encoder", ["?", *sorted(set(words))], spread=0.05)
    with config.open("a", encoding="utf-8") as file:
        file.write(_F1_ALONE)
    return config


def write_tiny_module(folder: Path, encoder: Path) -> Path:
    """Write a tiny encoder with the activation `gelu_new` in the TF-Hub format, with its own exporter."""
    import tensorflow as tf
    from official.legacy.bert import configs
    from official.nlp.tools import export_tfhub_lib

    from ml.encoder.bert import assign_weights
    from ml.encoder.huggingface import read_huggingface

    bert_config = configs.BertConfig.from_json_file(str(encoder / "config.json"))
    bert_config.hidden_act = "gelu"  # the exporter's name for the tanh form
    model = export_tfhub_lib.get_bert_encoder(bert_config)
    assign_weights(model, read_huggingface(encoder).weights)
    checkpoint = tf.train.Checkpoint(model=model, encoder=model).save(str(folder / "checkpoint"))
    export_tfhub_lib.export_model(
        str(folder / "module"),
        bert_config=bert_config,
        model_checkpoint_path=checkpoint,
        with_mlm=False,
        vocab_file=str(encoder / "vocab.txt"),
        do_lower_case=True,
    )
    return folder / "module"


def _config(vocabulary_size: int, activation: str, sizes: Sizes) -> dict[str, object]:
    return {
        "model_type": "bert",
        "vocab_size": vocabulary_size,
        "hidden_size": sizes.hidden,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "intermediate_size": sizes.intermediate,
        "max_position_embeddings": sizes.positions,
        "type_vocab_size": 2,
        "hidden_act": activation,
        "layer_norm_eps": 1e-12,
    }


def _initial(name: str, shape: tuple[int, ...], spread: float, random: np.random.Generator) -> np.ndarray:
    centre = 1.0 if name.endswith("LayerNorm.weight") else 0.0
    return random.normal(centre, spread, shape).astype(np.float32)


def _shapes(vocabulary_size: int, sizes: Sizes) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Return the shape of every tensor by name; a dense kernel is [outputs, inputs]."""
    hidden, intermediate = sizes.hidden, sizes.intermediate
    yield "embeddings.word_embeddings.weight", (vocabulary_size, hidden)
    yield "embeddings.position_embeddings.weight", (sizes.positions, hidden)
    yield "embeddings.token_type_embeddings.weight", (2, hidden)
    yield from _pair("embeddings.LayerNorm", (hidden,))
    for layer in range(sizes.layers):
        prefix = f"encoder.layer.{layer}."
        for name in ("query", "key", "value"):
            yield from _pair(f"{prefix}attention.self.{name}", (hidden, hidden))
        yield from _pair(f"{prefix}attention.output.dense", (hidden, hidden))
        yield from _pair(f"{prefix}attention.output.LayerNorm", (hidden,))
        yield from _pair(f"{prefix}intermediate.dense", (intermediate, hidden))
        yield from _pair(f"{prefix}output.dense", (hidden, intermediate))
        yield from _pair(f"{prefix}output.LayerNorm", (hidden,))
    yield from _pair("pooler.dense", (hidden, hidden))


def _pair(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]
