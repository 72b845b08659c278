"""A BERT small enough for tests, in the Hugging Face layout, with random weights that never change."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
LAYERS, HEADS, HIDDEN, INTERMEDIATE, POSITIONS = 2, 2, 16, 32, 64


def write_tiny_encoder(folder: Path, vocabulary: Sequence[str]) -> Path:
    """Write `config.json`, `vocab.txt` and `model.safetensors`; the special tokens are put before the vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = [*SPECIAL_TOKENS, *vocabulary]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(_config(len(tokens))), encoding="utf-8")
    random = np.random.default_rng(0)
    weights = {name: _initial(name, shape, random) for name, shape in _shapes(len(tokens))}
    save_file(weights, folder / "model.safetensors")
    return folder


def _config(vocabulary_size: int) -> dict[str, object]:
    return {
        "model_type": "bert",
        "vocab_size": vocabulary_size,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INTERMEDIATE,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
    }


def _initial(name: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    centre = 1.0 if name.endswith("LayerNorm.weight") else 0.0
    return random.normal(centre, 0.2, shape).astype(np.float32)


def _shapes(vocabulary_size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor; a dense kernel is [outputs, inputs]."""
    yield "embeddings.word_embeddings.weight", (vocabulary_size, HIDDEN)
    yield "embeddings.position_embeddings.weight", (POSITIONS, HIDDEN)
    yield "embeddings.token_type_embeddings.weight", (2, HIDDEN)
    yield from _pair("embeddings.LayerNorm", (HIDDEN,))
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        for name in ("query", "key", "value"):
            yield from _pair(f"{prefix}attention.self.{name}", (HIDDEN, HIDDEN))
        yield from _pair(f"{prefix}attention.output.dense", (HIDDEN, HIDDEN))
        yield from _pair(f"{prefix}attention.output.LayerNorm", (HIDDEN,))
        yield from _pair(f"{prefix}intermediate.dense", (INTERMEDIATE, HIDDEN))
        yield from _pair(f"{prefix}output.dense", (HIDDEN, INTERMEDIATE))
        yield from _pair(f"{prefix}output.LayerNorm", (HIDDEN,))
    yield from _pair("pooler.dense", (HIDDEN, HIDDEN))


def _pair(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]
