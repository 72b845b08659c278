"""A SavedModel that cannot be trained is refused before any work, and without TensorFlow."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ml.config import EncoderConfig
from ml.encoder.check import check_encoder
from ml.encoder.saved_model import read_saved_model
from ml.errors import ConfigError
from tests.doomed import PROJECT
from tests.tiny import HIDDEN, POSITIONS, SPECIAL_TOKENS, WORDS


@pytest.fixture
def module(tiny_module: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_module, tmp_path / "module")


def check(module, max_tokens=POSITIONS):
    check_encoder(EncoderConfig(source=str(module), max_tokens=max_tokens))


def without(name):
    return lambda module: (module / name).unlink()


def renamed(old, new):
    """Another SavedModel: one that calls something otherwise."""

    def change(module):
        graph = module / "saved_model.pb"
        graph.write_bytes(graph.read_bytes().replace(old, new))

    return change


def cut(module):
    graph = module / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:1000])


def shorter_vocabulary(module):
    (module / "assets" / "vocab.txt").write_text("[PAD]\n[UNK]\n")


WRONG = {
    "no vocabulary": (without("assets/vocab.txt"), "vocab.txt is missing"),
    "no weights": (without("variables/variables.index"), "variables.index is missing"),
    "another model": (renamed(b"vocab_file", b"vocab_fold"), "has no vocabulary"),
    "another interface": (renamed(b"input_word_ids", b"input_char_ids"), "does not take three inputs"),
    "no pooled output": (renamed(b"pooled_output", b"spooled_outpu"), "does not take three inputs"),
    "a broken file": (cut, "cannot be read"),
    "no graph": (lambda module: (module / "saved_model.pb").write_bytes(b""), "cannot be read"),
    "another vocabulary": (shorter_vocabulary, "2 tokens, the encoder 16 word embeddings"),
}


@pytest.mark.parametrize(("change", "what"), WRONG.values(), ids=WRONG.keys())
def test_a_module_that_cannot_be_trained_is_refused(module, change, what):
    check(module)
    change(module)
    with pytest.raises(ConfigError, match=what) as raised:
        check(module)
    assert str(module) not in str(raised.value)


def test_a_module_with_fewer_positions_than_tokens_is_refused(module):
    with pytest.raises(ConfigError, match=f"{POSITIONS + 1} tokens are more than the encoder's {POSITIONS} positions"):
        check(module, POSITIONS + 1)


def test_a_module_is_read_without_tensorflow_to_the_shapes_of_its_variables(module):
    read = read_saved_model((module / "saved_model.pb").read_bytes())
    assert read.assets == ("vocab.txt",)
    assert read.shapes["word_embeddings/embeddings"] == (len(SPECIAL_TOKENS) + len(WORDS), HIDDEN)
    code = "import sys; from ml.encoder.check import check_encoder; assert 'tensorflow' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0
