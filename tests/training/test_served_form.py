"""Which number format a model is exported in, and what its record says of bfloat16 beside float32."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from ml.config import ServeConfig
from ml.encoder.pretrained import read_encoder
from ml.encoder.tfhub import PretrainedModule
from ml.errors import ConfigError
from ml.model.classifier import named_weights
from ml.model.predict import load_model
from ml.records import Bfloat16Form, Float32Form, NoChampion, TrainedModel, from_json, to_json
from ml.training.served_form import Exporter, choose_served_precision, export_in_form
from ml.training.train import train
from tests.training.splits import make_run, store_splits
from tests.training.test_train import SETTINGS, make_config

LABELS = np.array([1, 1, 0, 0] * 500, np.float32)
IN_FLOAT32 = np.linspace(0.9, 0.1, 2000, dtype=np.float32)


def exporter(in_bfloat16):
    """Stand in for a model whose scores are these; what is written is the name of its number format."""

    def write(folder, precision):
        folder.mkdir(parents=True)
        (folder / "precision").write_text(precision)

    def score(folder):
        return IN_FLOAT32 if (folder / "precision").read_text() == "float32" else np.float32(in_bfloat16)

    return Exporter(write=write, score=score, choose=lambda scores: 0.5, labels=LABELS)


def written(tmp_path, setting, in_bfloat16, precision="bfloat16"):
    folder = tmp_path / "model" / "saved_model"
    exported = export_in_form(folder, setting, precision, exporter(in_bfloat16))
    return exported, (folder / "precision").read_text()


def moved(rows: int):
    """Move this many rows, one after the other, over the threshold."""
    scores = IN_FLOAT32.copy()
    scores[1000 : 1000 + rows] = 0.5
    return scores


def test_a_model_in_float32_is_compared_with_nothing(tmp_path):
    exported, file = written(tmp_path, "float32", None, precision="float32")
    assert (exported.form, file) == (Float32Form(), "float32")


@pytest.mark.parametrize("setting", ["bfloat16", "auto"])
def test_a_model_in_bfloat16_has_both_figures_in_its_record(tmp_path, setting):
    exported, file = written(tmp_path, setting, moved(2))
    assert file == "bfloat16"
    assert (exported.form.rows, exported.form.labels_agreeing) == (2000, 0.999)
    assert abs(exported.form.average_precision_change) < 0.002
    assert exported.form.labels_hold
    assert exported.form.average_precision_holds
    np.testing.assert_array_equal(exported.scores, moved(2))


def test_auto_takes_float32_where_too_many_labels_change(tmp_path, caplog):
    exported, file = written(tmp_path, "auto", moved(3))
    assert (exported.form, file) == (Float32Form(), "float32")
    np.testing.assert_array_equal(exported.scores, IN_FLOAT32)
    assert "float32 is exported, since bfloat16 is too far from it: 0.9985 of the labels agree" in caplog.text


def test_auto_takes_float32_where_the_ranks_change(tmp_path):
    ranks = np.where(LABELS == 1, IN_FLOAT32 + 0.001, IN_FLOAT32)
    exported, file = written(tmp_path, "auto", np.where(np.abs(IN_FLOAT32 - 0.5) < 0.01, IN_FLOAT32, ranks))
    assert (exported.form, file) == (Float32Form(), "float32")


def test_bfloat16_that_was_asked_for_is_written_and_its_record_says_that_it_does_not_hold(tmp_path):
    exported, file = written(tmp_path, "bfloat16", moved(3))
    assert file == "bfloat16"
    assert not exported.form.labels_hold
    assert exported.form.average_precision_holds


@pytest.mark.parametrize(("multiplies", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_takes_what_the_hardware_multiplies(tiny_encoder, monkeypatch, multiplies, expected):
    monkeypatch.setattr("ml.training.served_form.multiplies_bfloat16", lambda: multiplies)
    assert choose_served_precision("auto", read_encoder(str(tiny_encoder))) == expected
    assert choose_served_precision("float32", read_encoder(str(tiny_encoder))) == "float32"
    assert choose_served_precision("bfloat16", read_encoder(str(tiny_encoder))) == "bfloat16"


def test_a_module_that_is_served_as_it_is_has_float32_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("ml.training.served_form.multiplies_bfloat16", lambda: True)
    module = PretrainedModule(folder=tmp_path, vocabulary=(), lower_case=True)
    assert choose_served_precision("auto", module) == "float32"
    with pytest.raises(ConfigError, match="served as it is, in float32"):
        choose_served_precision("bfloat16", module)


@pytest.fixture(scope="module")
def trained(tiny_encoder, tmp_path_factory):
    """Train a model that is exported in bfloat16."""
    run = make_run(tmp_path_factory.mktemp("trained"))
    config = replace(make_config(tiny_encoder), serve=ServeConfig(precision="bfloat16"))
    return run, config, train(config, run, store_splits(run.store))


def test_a_training_exports_in_the_number_format_of_the_setting(trained):
    run, _, record = trained
    kinds = {
        variable.dtype
        for variable in tf.saved_model.load(str(run.store.open("models", record.model) / "saved_model")).weights
    }
    assert kinds == {tf.float32, tf.bfloat16}
    assert isinstance(record.form, Bfloat16Form)
    assert record.form.labels_agreeing >= 0.9
    assert from_json(to_json(record), TrainedModel) == record
    assert '"labels_agreeing"' in to_json(record)


def test_a_warm_start_takes_the_weights_of_a_champion_in_bfloat16(trained, monkeypatch):
    run, config, record = trained
    champion = run.registry.register(run.store.open("models", record.model), record.model)
    run.registry.move_alias("production", champion.version, expected=NoChampion())
    begun = []

    def stop(trainer, *_, **__):
        begun.extend(named_weights(trainer.classifier))
        raise KeyError

    monkeypatch.setattr("ml.training.train.fit", stop)
    with pytest.raises(KeyError):
        train(replace(config, train=replace(SETTINGS, warm_start=True)), run, store_splits(run.store))
    weights = dict(load_model(run.registry.fetch(champion.version)).weights)
    assert len(begun) == len(weights)
    for name, value in begun:
        np.testing.assert_array_equal(value, weights[name])
