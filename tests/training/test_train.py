import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from ml.config import Config, EncoderConfig, ThresholdConfig, TrainConfig
from ml.errors import ConfigError, DataError, LineageError
from ml.fingerprint import training_digest
from ml.model.predict import load_model
from ml.model.threshold import choose_dominating_threshold, choose_threshold, operating_point, rows_as_in_service
from ml.records import Float32Form, ModelDescription, NoChampion, PretrainedWeights, digest, from_json, to_json
from ml.store.files import tree_digest
from ml.training.train import train
from tests.tiny import WORDS, Sizes, write_tiny_encoder
from tests.training.splits import make_run, store_splits

SETTINGS = TrainConfig(epochs=4, patience_epochs=4, batch_size=8, learning_rate=1e-2)
TEXTS = ["why do cats sleep ?", "", "bad dogs bark " * 30, "how good"]

# The script imports only the two packages that serving needs, and nothing of this project.
FRESH_PROCESS = """
import json, sys
import tensorflow as tf, tensorflow_text
model = tf.saved_model.load(sys.argv[1])
scores = model.signatures["serving_default"](texts=tf.constant(json.loads(sys.argv[2])))["probability"]
assert not {"ml", "official"} & sys.modules.keys()
print(json.dumps(scores.numpy().tolist()))
"""


# The script forks before TensorFlow is used, so that it is imported once. Each training but the last is cut off: told
# to end in the middle of an epoch and of its validation, killed while it stores a checkpoint, ended by an error before
# the export, killed before it stores the model. Each is another run on another home.
CUT_OFF = """
import logging, os, shutil, signal, sys
from dataclasses import replace
from pathlib import Path
from ml.training import checkpoint, train as step
from ml.training.training_step import Trainer
from ml.store import Store
from tests.training.splits import make_run, store_splits
from tests.training.test_train import SETTINGS, make_config

def before_call(holder, method, number, act, counts=lambda *arguments: True):
    made, left = getattr(holder, method), iter(range(number - 1))
    def watched(*arguments, **named):
        if counts(*arguments) and next(left, None) is None:
            act()
        return made(*arguments, **named)
    setattr(holder, method, watched)

def told_to_end():
    os.kill(os.getpid(), signal.SIGTERM)

def killed():
    os.kill(os.getpid(), signal.SIGKILL)

def interrupted():
    raise KeyboardInterrupt

def killed_before_it_stores(kind, number):
    before_call(Store, "commit", number, killed, lambda store, staged, stored, digest: stored == kind)

def killed_while_it_stores_checkpoints():
    checkpoint.Checkpoints.due = lambda self: True
    killed_before_it_stores("checkpoints", 5)

PLACES = (
    lambda: before_call(Trainer, "update", 17, told_to_end),
    lambda: before_call(Trainer, "score", 1, told_to_end),
    killed_while_it_stores_checkpoints,
    lambda: before_call(step, "export_classifier", 1, interrupted),
    lambda: killed_before_it_stores("models", 1),
    lambda: None,
)
encoder, homes = Path(sys.argv[1]), Path(sys.argv[2])
logging.getLogger("ml").setLevel(logging.INFO)
logging.getLogger("ml").addHandler(logging.StreamHandler())
for number, place in enumerate(PLACES):
    home = homes / str(number)
    if number:
        shutil.copytree(homes / str(number - 1) / "store", home / "store")
    child = os.fork()
    if child == 0:
        place()
        run = replace(make_run(home), run_id=f"run-{number}")
        settings = replace(SETTINGS, checkpoint_minutes=10.0 + number)
        own = shutil.copytree(encoder, home / encoder.name)
        try:
            record = step.train(make_config(own, settings), run, store_splits(run.store))
            print(record.model, record.weights, record.threshold, flush=True)
        except KeyboardInterrupt:
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
PROJECT = Path(__file__).parents[2]


def make_config(tiny_encoder: Path, settings: TrainConfig = SETTINGS) -> Config:
    return Config(encoder=EncoderConfig(source=str(tiny_encoder), max_tokens=16), train=settings)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


@pytest.fixture(scope="module")
def trained(tiny_encoder, tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("trained"))
    splits = store_splits(run.store)
    return run, splits, train(make_config(tiny_encoder), run, splits)


def test_a_trained_model_is_stored_whole_and_tells_the_classes_apart(trained, tiny_encoder):
    run, splits, record = trained
    folder = run.store.open("models", record.model)
    model = load_model(folder)

    assert record.splits == digest(splits)
    assert record.config == training_digest(make_config(tiny_encoder))
    assert record.encoder == tiny_encoder.name
    assert record.started_from == PretrainedWeights()
    assert record.form == Float32Form()
    assert "form" not in to_json(record)
    assert record.threshold == model.threshold
    assert record.model == tree_digest(folder)
    good, bad = model.score(["why do cats sleep good ?", "why do cats sleep bad ?"])
    assert good < model.threshold <= bad

    training = run.store.open("trainings", record.model)
    epochs = json.loads((training / "training.json").read_text())["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3, 4]
    assert max(epoch["average_precision"] for epoch in epochs) == epochs[record.best_epoch - 1]["average_precision"]
    summary = (training / "summary.txt").read_text()
    assert all(layer in summary for layer in ("word_embeddings", "transformer/layer_0", "pooler_transform", "head"))
    layers = json.loads((training / "training.json").read_text())["layers"]
    assert next(iter(layers)) == "word_embeddings"
    assert layers["head"] == 17


@pytest.mark.parametrize("allowed", [True, False])
def test_a_training_may_use_tf32_and_nothing_after_it(tiny_encoder, run, monkeypatch, allowed):
    seen = []

    def stop(*_, **__):
        seen.append(tf.config.experimental.tensor_float_32_execution_enabled())
        raise KeyError

    monkeypatch.setattr("ml.training.train.fit", stop)
    with pytest.raises(KeyError):
        train(make_config(tiny_encoder, replace(SETTINGS, tf32=allowed)), run, store_splits(run.store))
    seen.append(tf.config.experimental.tensor_float_32_execution_enabled())
    assert seen == [allowed, False]


def test_a_model_keeps_what_its_validation_rows_are_like_at_the_share_in_service_and_no_text(trained):
    run, splits, record = trained
    folder = run.store.open("models", record.model)
    text = (folder / "model.json").read_text()
    profile = from_json(text, ModelDescription).profile

    rows = pd.read_parquet(run.store.open("splits", splits.part("validation").digest) / "rows.parquet")
    taken = rows.iloc[rows_as_in_service(rows["target"].to_numpy(np.float32), positive_rate=0.0619)]
    scores = load_model(folder).score(taken["question_text"].tolist())
    assert (profile.rows, profile.flagged) == (len(taken), int((scores >= record.threshold).sum()))
    assert sum(profile.scores.counts) == sum(profile.lengths.counts) == len(taken)
    assert not [word for word in WORDS if f" {word}" in text]


def test_a_training_that_is_cut_off_again_and_again_goes_on_in_other_runs_on_other_homes_and_gives_the_very_same_model(
    trained, tiny_encoder, tmp_path, python
):
    homes, (run, _, uninterrupted) = tmp_path / "ho[1]me\\*?", trained  # TensorFlow takes such a path for a pattern
    homes.mkdir()
    command = [python, "-c", CUT_OFF, str(tiny_encoder), str(homes)]
    done = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True)
    same = f"{uninterrupted.model} {uninterrupted.weights} {uninterrupted.threshold}"
    assert done.stdout.splitlines() == ["-15", "-15", "-9", "1", "-9", same, "0"], done.stderr[-2000:]
    assert [line for line in done.stderr.splitlines() if line.startswith("going on")] == [
        "going on from a checkpoint: 1 whole epochs and 5 of 12 steps were made before",
        "going on from a checkpoint: 1 whole epochs and 12 of 12 steps were made before",
        "going on from a checkpoint: 2 whole epochs and 4 of 12 steps were made before",
        "going on from a checkpoint: 4 whole epochs and 0 of 12 steps were made before",
        "going on from a checkpoint: 4 whole epochs and 0 of 12 steps were made before",
    ]
    store = make_run(homes / "5").store
    file = "saved_model/variables/variables.data-00000-of-00001"
    weights = [each.open("models", uninterrupted.model) / file for each in (run.store, store)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert store.names("checkpoints") == []


class Measurer(tf.Module):
    """A model whose probability is the number of characters divided by 1000."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")])
    def score(self, texts):
        return {"probability": tf.cast(tf.strings.length(texts), tf.float32) / 1000}


def measuring_champion(run, trained, folder, threshold):
    """Make a champion that scores by length, with the rest of a trained model's description."""
    first, _, record = trained
    module = Measurer()
    tf.saved_model.save(module, str(folder / "saved_model"), signatures={"serving_default": module.score})
    description = from_json((first.store.open("models", record.model) / "model.json").read_text(), ModelDescription)
    (folder / "model.json").write_text(to_json(replace(description, threshold=threshold)))
    champion = run.registry.register(folder, tree_digest(folder))
    run.registry.move_alias("production", champion.version, expected=NoChampion())


def test_the_threshold_is_chosen_to_beat_the_champion_on_the_validation_rows(trained, tiny_encoder, run, tmp_path):
    # With a higher learning rate of the head, one epoch separates the classes fully: all thresholds would be equal.
    config = make_config(tiny_encoder, replace(SETTINGS, epochs=1, head_learning_rate_factor=1.0))
    splits, positive_rate = store_splits(run.store), config.threshold.positive_rate
    rows = pd.read_parquet(run.store.open("splits", splits.part("validation").digest) / "rows.parquet")
    labels, texts = rows["target"].to_numpy(np.float32), rows["question_text"].tolist()
    lengths = np.array([len(text) for text in texts], np.float32) / 1000
    threshold = float(np.sort(lengths[labels == 1])[-17])  # it flags 17 of the 24 positives, or some more
    measuring_champion(run, trained, tmp_path / "champion", threshold)

    second = train(config, run, splits)

    scores = load_model(run.store.open("models", second.model)).score(texts)
    to_beat = operating_point(labels, lengths, threshold, positive_rate=positive_rate)
    of_its_own = choose_threshold(labels, scores, positive_rate=positive_rate)
    assert second.threshold != of_its_own
    assert second.threshold == choose_dominating_threshold(labels, scores, to_beat, positive_rate=positive_rate)
    rebased = train(replace(config, threshold=ThresholdConfig(rebase=True)), run, splits)
    assert (rebased.threshold, rebased.rebased, second.rebased) == (of_its_own, True, False)
    assert second.weights == rebased.weights
    assert second.model != rebased.model


@pytest.fixture
def promoted(trained, tiny_encoder, run):
    """Make a run whose champion is the trained model, and the splits of a later week."""
    first_workspace, first_splits, first = trained
    champion = run.registry.register(first_workspace.store.open("models", first.model), first.model)
    run.registry.move_alias("production", champion.version, expected=NoChampion())
    return run, champion, first_splits, store_splits(run.store, rows=80, positives=20)


def warm(tiny_encoder, **changes):
    return make_config(tiny_encoder, replace(SETTINGS, epochs=1, warm_start=True, **changes))


def test_a_warm_start_begins_with_all_of_the_champions_weights_and_says_so(promoted, tiny_encoder):
    run, champion, first_splits, splits = promoted
    record = train(warm(tiny_encoder, learning_rate=1e-8), run, splits)
    folder = run.store.open("models", record.model)
    expected = load_model(run.registry.fetch(champion.version)).score(TEXTS)
    np.testing.assert_allclose(load_model(folder).score(TEXTS), expected, atol=1e-3)
    assert record.started_from == champion
    description = json.loads((folder / "model.json").read_text())
    assert description["started_from"] == {"record": "ModelVersion", "version": "v1", "model": champion.model}
    assert description["fitted_to"] == [
        parts.part(name).digest for parts in (first_splits, splits) for name in ("train", "validation")
    ]


def test_a_training_without_a_champion_begins_with_the_pretrained_encoder_and_the_share_of_positives(
    tiny_encoder, run, caplog
):
    caplog.set_level("INFO", logger="ml")
    record = train(warm(tiny_encoder, learning_rate=1e-8), run, store_splits(run.store, rows=96, positives=12))
    assert record.started_from == PretrainedWeights()
    assert "no warm start, since there is no champion yet" in caplog.text
    scores = load_model(run.store.open("models", record.model)).score(TEXTS)
    np.testing.assert_allclose(scores, 12 / 96, rtol=0.25)


@pytest.mark.parametrize(
    ("words", "layers", "message"),
    [
        (WORDS[::-1], 1, "vocabulary of the configured encoder"),
        (WORDS, 2, "has not the layers and sizes of the configured encoder"),
    ],
)
def test_a_champion_of_another_encoder_is_no_start(promoted, tmp_path, words, layers, message):
    run, _, _, splits = promoted
    other = write_tiny_encoder(tmp_path / "other", words, sizes=Sizes(layers=layers))
    with pytest.raises(ConfigError, match=message):
        train(warm(other), run, splits)


def test_a_fresh_process_without_this_code_gives_the_same_scores(trained):
    run, _, record = trained
    folder = run.store.open("models", record.model)
    result = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, str(folder / "saved_model"), json.dumps(TEXTS)],
        env={name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TF_USE_LEGACY_KERAS")},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    np.testing.assert_allclose(json.loads(result.stdout), load_model(folder).score(TEXTS), atol=1e-6)


def test_splits_that_are_not_stored_are_refused(tiny_encoder, run, tmp_path):
    splits = store_splits(run.store)
    (run.store.open("splits", splits.part("validation").digest) / "rows.parquet").parent.rename(tmp_path / "gone")
    with pytest.raises(LineageError, match="is not in the store"):
        train(make_config(tiny_encoder), run, splits)


@pytest.mark.parametrize("positives", [0, 96])
def test_one_class_only_is_refused(tiny_encoder, run, positives):
    with pytest.raises(DataError, match=f"{positives} of the 96 train rows are positive"):
        train(make_config(tiny_encoder), run, store_splits(run.store, positives=positives))


def test_an_unusable_encoder_leaves_nothing_behind(tmp_path, run):
    with pytest.raises(ConfigError, match="no encoder at the source"):
        train(make_config(tmp_path / "nowhere"), run, store_splits(run.store))
    assert run.store.names("models") == []
    assert list((tmp_path / "store" / "staging").iterdir()) == []
