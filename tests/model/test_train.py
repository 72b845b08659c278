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

from ml.config import Config, EncoderConfig, TrainConfig, config_digest
from ml.errors import ConfigError, DataError, LineageError
from ml.model.predict import load_model
from ml.model.threshold import choose_dominating_threshold, operating_point
from ml.model.train import train
from ml.records import AbsentChampion, digest
from ml.store import tree_digest
from tests.model.splits import make_workspace, store_splits

SETTINGS = TrainConfig(epochs=6, patience_epochs=6, batch_size=8, learning_rate=1e-2)
TEXTS = ["why do cats sleep ?", "", "bad dogs bark " * 30, "how good"]

# Nothing of ours, only the two packages that whoever serves the model needs.
FRESH_PROCESS = """
import json, sys
import tensorflow as tf, tensorflow_text
model = tf.saved_model.load(sys.argv[1])
scores = model.signatures["serving_default"](texts=tf.constant(json.loads(sys.argv[2])))["probability"]
assert not {"ml", "official"} & sys.modules.keys()
print(json.dumps(scores.numpy().tolist()))
"""


# In a process of its own: determinism, which a module's unseeded dropout cannot have, is never switched off again.
UNRECOGNISED_MODULE = """
import sys
from pathlib import Path
from ml.config import TrainConfig
from ml.model import tfhub
from ml.model.predict import load_model
from ml.model.train import train
from tests.model.splits import make_workspace, store_splits
from tests.model.test_train import make_config
tfhub._gives_the_same = lambda *_: False
workspace = make_workspace(Path(sys.argv[2]))
config = make_config(Path(sys.argv[1]), TrainConfig(epochs=1, batch_size=32))
record = train(config, workspace, store_splits(workspace.store))
scores = load_model(workspace.store.open("models", record.model)).score(["why", "how do cats sleep"])
print(len(scores), "scores")
"""
PROJECT = Path(__file__).parents[2]


def make_config(tiny_encoder: Path, settings: TrainConfig = SETTINGS) -> Config:
    return Config(encoder=EncoderConfig(source=str(tiny_encoder), max_tokens=16), train=settings)


@pytest.fixture
def workspace(tmp_path):
    return make_workspace(tmp_path)


@pytest.fixture(scope="module")
def trained(tiny_encoder, tmp_path_factory):
    workspace = make_workspace(tmp_path_factory.mktemp("trained"))
    splits = store_splits(workspace.store)
    return workspace, splits, train(make_config(tiny_encoder), workspace, splits)


def test_a_trained_model_is_stored_whole_and_tells_the_classes_apart(trained, tiny_encoder):
    workspace, splits, record = trained
    folder = workspace.store.open("models", record.model)
    model = load_model(folder)

    assert record.splits == digest(splits)
    assert record.config == config_digest(make_config(tiny_encoder))
    assert record.encoder == tiny_encoder.name
    assert record.threshold == model.threshold
    assert record.model == tree_digest(folder)
    good, bad = model.score(["why do cats sleep good ?", "why do cats sleep bad ?"])
    assert good < model.threshold <= bad

    training = workspace.store.open("trainings", record.model)
    epochs = json.loads((training / "training.json").read_text())["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3, 4, 5, 6]
    assert max(epoch["average_precision"] for epoch in epochs) == epochs[record.best_epoch - 1]["average_precision"]
    summary = (training / "summary.txt").read_text()
    assert all(layer in summary for layer in ("word_embeddings", "transformer/layer_1", "pooler_transform", "head"))
    assert "transformer/layer_1" in (training / "plot.svg").read_text()


def test_the_same_training_again_gives_the_same_weights(trained, tiny_encoder):
    workspace, splits, first = trained
    second = train(make_config(tiny_encoder), workspace, splits)
    bytes_of = [
        (
            workspace.store.open("models", record.model) / "saved_model/variables/variables.data-00000-of-00001"
        ).read_bytes()
        for record in (first, second)
    ]
    assert bytes_of[0] == bytes_of[1]
    assert first.threshold == second.threshold


def test_the_threshold_is_chosen_to_beat_the_champion_on_the_validation_rows(tiny_encoder, workspace, tmp_path):
    splits, config = store_splits(workspace.store), make_config(tiny_encoder, replace(SETTINGS, epochs=1))
    first = train(config, workspace, splits)
    folder = shutil.copytree(workspace.store.open("models", first.model), tmp_path / "champion")
    rows = pd.read_parquet(workspace.store.open("splits", splits.part("validation").digest) / "rows.parquet")
    labels, scores = rows["target"].to_numpy(np.float32), load_model(folder).score(rows["question_text"].tolist())
    worse = float(np.sort(scores)[-20])
    (folder / "model.json").write_text(json.dumps({"threshold": worse}))
    champion = workspace.registry.register(folder, tree_digest(folder))
    workspace.registry.move_alias("production", champion.version, expected=AbsentChampion())

    second = train(config, workspace, splits)

    to_beat = operating_point(labels, scores, worse, positive_rate=config.threshold.positive_rate)
    assert second.threshold != first.threshold
    assert second.threshold == choose_dominating_threshold(
        labels, scores, to_beat, positive_rate=config.threshold.positive_rate
    )


def test_a_fresh_process_without_this_code_gives_the_same_scores(trained):
    workspace, _, record = trained
    folder = workspace.store.open("models", record.model)
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


def test_a_module_that_is_not_recognised_trains_through_the_hub_layer(tiny_module, tmp_path):
    command = [sys.executable, "-c", UNRECOGNISED_MODULE, str(tiny_module), str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "2 scores"


def test_splits_that_are_not_stored_are_refused(tiny_encoder, workspace, tmp_path):
    splits = store_splits(workspace.store)
    (workspace.store.open("splits", splits.part("validation").digest) / "rows.parquet").parent.rename(tmp_path / "gone")
    with pytest.raises(LineageError, match="is not in the store"):
        train(make_config(tiny_encoder), workspace, splits)


@pytest.mark.parametrize("positives", [0, 96])
def test_one_class_only_is_refused(tiny_encoder, workspace, positives):
    with pytest.raises(DataError, match=f"{positives} of the 96 train rows are positive"):
        train(make_config(tiny_encoder), workspace, store_splits(workspace.store, positives=positives))


def test_an_unusable_encoder_leaves_nothing_behind(tmp_path, workspace):
    with pytest.raises(ConfigError, match="no encoder at the source"):
        train(make_config(tmp_path / "nowhere"), workspace, store_splits(workspace.store))
    assert not (workspace.store.root / "models").exists()
    assert list((workspace.store.root / "staging").iterdir()) == []
