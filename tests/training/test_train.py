import json
import os
import shutil
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
from ml.model.threshold import choose_dominating_threshold, operating_point, rows_as_in_service
from ml.records import ModelDescription, NoChampion, PretrainedWeights, digest, from_json, to_json
from ml.store.files import tree_digest
from ml.training.train import train
from tests.tiny import WORDS, Sizes, write_tiny_encoder
from tests.training.splits import make_run, store_splits

SETTINGS = TrainConfig(epochs=6, patience_epochs=6, batch_size=8, learning_rate=1e-2)
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

# The script forks before TensorFlow is used, so that it is imported once; each training but the last is killed.
KILLED = """
import logging, os, shutil, signal, sys
from dataclasses import replace
from pathlib import Path
from ml.training import checkpoint, train as step
from ml.training.training_step import Trainer
from ml.store import Store
from tests.training.splits import make_run, store_splits
from tests.training.test_train import SETTINGS, make_config

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def die_after(steps):
    made = Trainer.update
    Trainer.update = lambda self, batch: made(self, batch) if self.steps() < steps else die()

def die_before_it_stores(what):
    commit = Store.commit
    Store.commit = lambda self, staged, kind, digest: die() if kind == what else commit(self, staged, kind, digest)

def die_before_the_export():
    step.export_classifier = die

PLACES = (
    lambda: die_after(17),
    lambda: die_before_it_stores("checkpoints"),
    die_before_the_export,
    lambda: die_before_it_stores("models"),
)
logging.getLogger("ml").setLevel(logging.INFO)
logging.getLogger("ml").addHandler(logging.StreamHandler())
checkpoint.Checkpoints.due = lambda self: True
for number, place in enumerate((*PLACES, lambda: None)):
    child = os.fork()
    if child == 0:
        place()
        run = replace(make_run(Path(sys.argv[2])), run_id=f"run-{number}")
        settings = replace(SETTINGS, checkpoint_minutes=10.0 + number)
        encoder = shutil.copytree(sys.argv[1], Path(sys.argv[2]) / f"encoder-{number}")
        print(step.train(make_config(encoder, settings), run, store_splits(run.store)).model, flush=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
# Two trainings are told to end, in the middle of an epoch and of its validation; the third comes to its end.
TOLD_TO_END = """
import logging, os, signal, sys
from pathlib import Path
from ml.training import train as step
from ml.training.training_step import Trainer
from tests.training.splits import make_run, store_splits
from tests.training.test_train import SETTINGS, make_config

def tell_before(method, calls):
    made, left = getattr(Trainer, method), iter(range(calls))
    def told(self, *arguments, **named):
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGTERM)
        return made(self, *arguments, **named)
    setattr(Trainer, method, told)

logging.getLogger("ml").setLevel(logging.INFO)
logging.getLogger("ml").addHandler(logging.StreamHandler())
for place in (lambda: tell_before("update", 16), lambda: tell_before("score", 1), lambda: None):
    child = os.fork()
    if child == 0:
        place()
        run = make_run(Path(sys.argv[2]))
        print(step.train(make_config(Path(sys.argv[1])), run, store_splits(run.store)).model, flush=True)
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
    assert record.threshold == model.threshold
    assert record.model == tree_digest(folder)
    good, bad = model.score(["why do cats sleep good ?", "why do cats sleep bad ?"])
    assert good < model.threshold <= bad

    training = run.store.open("trainings", record.model)
    epochs = json.loads((training / "training.json").read_text())["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3, 4, 5, 6]
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


def test_a_training_begins_with_probabilities_about_the_share_of_positives(tiny_encoder, run):
    config = make_config(tiny_encoder, replace(SETTINGS, epochs=1, learning_rate=1e-8))
    record = train(config, run, store_splits(run.store, rows=96, positives=12))
    scores = load_model(run.store.open("models", record.model)).score(TEXTS)
    np.testing.assert_allclose(scores, 12 / 96, rtol=0.25)


def test_the_same_training_in_another_run_of_another_home_gives_the_same_model(trained, tiny_encoder, tmp_path):
    run, _, first = trained
    elsewhere = replace(make_run(tmp_path), run_id="another")
    encoder = shutil.copytree(tiny_encoder, tmp_path / "elsewhere" / tiny_encoder.name)

    second = train(make_config(encoder), elsewhere, store_splits(elsewhere.store))

    bytes_of = [
        (home.store.open("models", record.model) / "saved_model/variables/variables.data-00000-of-00001").read_bytes()
        for home, record in ((run, first), (elsewhere, second))
    ]
    assert bytes_of[0] == bytes_of[1]
    assert (first.weights, first.model, first.threshold) == (second.weights, second.model, second.threshold)


def test_a_training_that_was_cut_off_on_one_home_goes_on_on_another(trained, tiny_encoder, tmp_path, caplog):
    caplog.set_level("INFO")
    here, there = (replace(make_run(tmp_path / name), run_id=name) for name in ("here", "there"))
    seen = []

    def cut_off(step, figures):
        seen.append(step)
        if "val_loss" in figures or step > max(seen[:1]) + 12:  # the first epoch is over
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(make_config(tiny_encoder), replace(here, observe=cut_off), store_splits(here.store))
    shutil.copytree(tmp_path / "here" / "store", tmp_path / "there" / "store")
    encoder = shutil.copytree(tiny_encoder, tmp_path / "elsewhere" / tiny_encoder.name)

    record = train(make_config(encoder), there, store_splits(there.store))

    assert "going on from a checkpoint" in caplog.text
    assert record.model == trained[2].model


def test_a_training_that_is_killed_again_and_again_goes_on_in_any_run_and_gives_the_model_of_one_that_is_not(
    trained, tiny_encoder, tmp_path, python
):
    home = tmp_path / "ho[1]me\\*?"  # TensorFlow takes such a path for a pattern
    home.mkdir()
    command = [python, "-c", KILLED, str(tiny_encoder), str(home)]
    done = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["-9", "-9", "-9", "-9", trained[2].model, "0"], done.stderr[-2000:]
    assert [line for line in done.stderr.splitlines() if line.startswith("going on")] == [
        "going on from a checkpoint: 1 whole epochs and 5 of 12 steps were made before",
        "going on from a checkpoint: 1 whole epochs and 5 of 12 steps were made before",
        "going on from a checkpoint: 6 whole epochs and 0 of 12 steps were made before",
        "going on from a checkpoint: 6 whole epochs and 0 of 12 steps were made before",
    ]
    store = make_run(home).store
    assert store.contains("models", trained[2].model)
    assert store.names("checkpoints") == []


def test_a_training_that_is_told_to_end_writes_a_checkpoint_first_and_goes_on_from_that_very_step(
    trained, tiny_encoder, tmp_path, python
):
    command = [python, "-c", TOLD_TO_END, str(tiny_encoder), str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["-15", "-15", trained[2].model, "0"], done.stderr[-2000:]
    assert [line for line in done.stderr.splitlines() if line.startswith("going on")] == [
        "going on from a checkpoint: 1 whole epochs and 5 of 12 steps were made before",
        "going on from a checkpoint: 2 whole epochs and 12 of 12 steps were made before",
    ]


def test_the_threshold_is_chosen_to_beat_the_champion_on_the_validation_rows(tiny_encoder, run, tmp_path):
    # With a higher learning rate of the head, one epoch separates the classes fully: all thresholds would be equal.
    config = make_config(tiny_encoder, replace(SETTINGS, epochs=1, head_learning_rate_factor=1.0))
    splits = store_splits(run.store)
    first = train(config, run, splits)
    folder = shutil.copytree(run.store.open("models", first.model), tmp_path / "champion")
    rows = pd.read_parquet(run.store.open("splits", splits.part("validation").digest) / "rows.parquet")
    labels, scores = rows["target"].to_numpy(np.float32), load_model(folder).score(rows["question_text"].tolist())
    worse = float(np.sort(scores)[-20])
    description = from_json((folder / "model.json").read_text(), ModelDescription)
    (folder / "model.json").write_text(to_json(replace(description, threshold=worse)))
    champion = run.registry.register(folder, tree_digest(folder))
    run.registry.move_alias("production", champion.version, expected=NoChampion())

    second = train(config, run, splits)

    to_beat = operating_point(labels, scores, worse, positive_rate=config.threshold.positive_rate)
    assert second.threshold != first.threshold
    assert second.threshold == choose_dominating_threshold(
        labels, scores, to_beat, positive_rate=config.threshold.positive_rate
    )
    rebased = train(replace(config, threshold=ThresholdConfig(rebase=True)), run, splits)
    assert (rebased.threshold, rebased.rebased, second.rebased) == (first.threshold, True, False)
    assert first.weights == second.weights == rebased.weights
    assert len({first.model, second.model, rebased.model}) == 3


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


def test_a_warm_start_without_a_champion_begins_with_the_pretrained_encoder(tiny_encoder, run, caplog):
    caplog.set_level("INFO", logger="ml")
    record = train(warm(tiny_encoder), run, store_splits(run.store))
    assert record.started_from == PretrainedWeights()
    assert "no warm start, since there is no champion yet" in caplog.text


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


def test_a_module_that_is_not_recognised_trains_through_the_hub_layer(tiny_module, tmp_path, python):
    command = [python, "-c", UNRECOGNISED_MODULE, str(tiny_module), str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "2 scores"


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
