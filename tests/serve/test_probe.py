"""The probe serves real SavedModels in real fresh processes."""

import ast
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from ml.config import Config
from ml.errors import LineageError, OutOfResources, ServingError
from ml.judge.row_scores import Scores, keep_scores
from ml.records import Bfloat16Form, ModelVersion, NoChampion, PairedCosts, ServingCosts, UnmeasuredCosts, digest
from ml.serve.costs import artifact_bytes, measure_side_by_side
from ml.serve.probe import HARD_QUESTIONS, probe, probe_model
from ml.serve.server_process import refuse
from ml.store.files import tree_digest
from tests.judge.examples import RIVAL, compare, open_run, store_model

PROJECT = Path(__file__).parents[2]
TEXTS = ["why", "who is", "what is it"]
SCORES = [0.3, 0.6, 1.0]  # number of characters / 10


class Measurer(tf.Module):
    """A model whose probability is the number of characters divided by 10, at most 1."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")])
    def score(self, texts):
        characters = tf.cast(tf.strings.length(texts, unit="UTF8_CHAR"), tf.float32)
        return {"probability": tf.minimum(characters / 10, 1)}


class Divider(tf.Module):
    """A model whose score of an empty text is not a number."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")])
    def score(self, texts):
        characters = tf.cast(tf.strings.length(texts), tf.float32)
        return {"probability": characters / characters}


class Quoter(tf.Module):
    """A model that fails on texts that are no numbers, with an error that quotes the text."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")])
    def score(self, texts):
        return {"probability": tf.strings.to_number(texts)}


class Heavy(tf.Module):
    """A model that reads 100 MB of weights for each batch, and once more for each 32 texts of it."""

    def __init__(self):
        super().__init__()
        self.weights = tf.Variable(tf.zeros([25_000_000]))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")])
    def score(self, texts):
        total = tf.reduce_sum(self.weights)
        for _ in tf.range(tf.size(texts) // 32):
            total += tf.reduce_sum(self.weights)
        return {"probability": tf.zeros([tf.size(texts)]) + total}


def save(module, folder):
    tf.saved_model.save(module, str(folder / "saved_model"), signatures={"serving_default": module.score})
    return folder


@pytest.fixture
def run(tmp_path):
    return open_run(tmp_path)


@pytest.fixture
def comparison(run):
    return store_comparison(run)


def store_comparison(run):
    """Store the comparison of a `Measurer` candidate on three rows."""
    with run.store.staging() as folder:
        model = tree_digest(save(Measurer(), folder))
        run.store.commit(folder, "models", model)
    with run.store.staging() as folder:
        pd.DataFrame({"question_text": TEXTS}).to_parquet(folder / "rows.parquet")
        run.store.commit(folder, "splits", "7" * 64)
    return compare(model, NoChampion())


def keep(run, comparison, scores):
    arrays = Scores(
        qid=np.array(["0", "1", "2"]), target=np.array([0, 0, 1]), by_model={"candidate": np.float32(scores)}
    )
    keep_scores(run.store, comparison, arrays)


def register(run, model):
    version = run.registry.register(run.store.open("models", model), model)
    return replace(RIVAL, champion=ModelVersion(version=version.version, model=model))


# The servers of `served` are as in production.
quickly = pytest.mark.usefixtures("quick_servers")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Probe a candidate that serves, beside a champion that is slow and large."""
    run = open_run(tmp_path_factory.mktemp("served") / "ho[1]me\\*?")  # TensorFlow takes it for a pattern
    comparison = store_comparison(run)
    with run.store.staging() as folder:
        champion = tree_digest(save(Heavy(), folder))
        run.store.commit(folder, "models", champion)
    against = replace(comparison, rival=register(run, champion))
    keep(run, against, SCORES)
    return against, probe(Config(), run, against)


def test_a_model_that_scores_as_it_was_evaluated_passes(served):
    comparison, record = served

    assert (record.model, record.comparison) == (comparison.candidate.model, digest(comparison))
    assert (record.questions, record.rows) == (8, 3)
    assert record.largest_difference < 1e-6


def test_the_candidates_costs_are_measured_beside_the_champions(served):
    costs = served[1].costs

    assert 0 < costs.candidate.question_seconds < costs.champion.question_seconds
    assert 0 < costs.candidate.batch_seconds < costs.champion.batch_seconds
    assert costs.question_ratio < 1
    assert costs.batch_ratio < 1


def test_memory_is_that_of_the_model_served_and_size_that_of_all_its_files(served):
    costs = served[1].costs

    assert costs.champion.peak_memory_bytes - costs.candidate.peak_memory_bytes > 80_000_000
    assert 100_000_000 < costs.champion.artifact_bytes - costs.candidate.artifact_bytes < 101_000_000


@quickly
def test_without_a_champion_the_candidate_is_measured_alone(run, comparison):
    keep(run, comparison, SCORES)

    assert isinstance(probe(Config(), run, comparison).costs, ServingCosts)


@quickly
def test_beside_a_champion_that_does_not_serve_twice_the_candidate_is_measured_alone_and_the_record_says_why(
    run, comparison, caplog
):
    rival = register(run, store_model(run.store, "no model"))
    against = replace(comparison, rival=rival)
    keep(run, against, SCORES)

    costs = probe(Config(), run, against).costs

    assert isinstance(costs, UnmeasuredCosts)
    assert costs.reason == "its process ended with status 1 (OSError)"
    assert costs.candidate.artifact_bytes == artifact_bytes(run.store.open("models", comparison.candidate.model))
    assert min(costs.candidate.question_seconds, costs.candidate.batch_seconds) > 0
    assert costs.champion_artifact_bytes == artifact_bytes(run.registry.fetch(rival.champion.version))
    assert caplog.text.count("trying once more") == 1


@quickly
def test_a_candidate_that_does_not_serve_alone_either_is_at_fault(run, comparison, monkeypatch):
    against = replace(comparison, rival=register(run, store_model(run.store, "no model")))
    keep(run, against, SCORES)
    monkeypatch.setattr("ml.serve.probe.measure_alone", _break)

    with pytest.raises(ServingError, match="alone"):
        probe(Config(), run, against)


def _break(server, texts):
    refuse("alone")


@quickly
@pytest.mark.parametrize("error", [ServingError, OutOfResources])
def test_costs_that_could_not_be_measured_are_tried_again(run, comparison, monkeypatch, error):
    against = replace(comparison, rival=register(run, comparison.candidate.model))
    keep(run, against, SCORES)
    attempts = iter([error("killed", where="", fix="")])

    def break_once(candidate, champion, texts):
        for broken in attempts:
            raise broken
        return measure_side_by_side(candidate, champion, texts)

    monkeypatch.setattr("ml.serve.probe.measure_side_by_side", break_once)

    assert isinstance(probe(Config(), run, against).costs, PairedCosts)


def test_a_candidate_whose_files_were_changed_is_not_served(run, comparison):
    keep(run, comparison, SCORES)
    (run.store.open("models", comparison.candidate.model) / "saved_model" / "more").write_text("changed")
    with pytest.raises(LineageError, match="are not those that the record names"):
        probe(Config(), run, comparison)


@quickly
def test_a_model_that_scores_otherwise_than_evaluated_is_refused(run, comparison):
    keep(run, comparison, [0.3, 0.6, 0.99])

    with pytest.raises(ServingError, match=r"differs from the evaluation's by 0\.01"):
        probe(Config(), run, comparison)


@quickly
def test_a_model_in_bfloat16_may_score_a_little_otherwise_in_another_batch(run, comparison):
    form = Bfloat16Form(rows=2000, labels_agreeing=1.0, average_precision_change=0.0)
    exported = replace(comparison, trained=replace(comparison.trained, form=form))
    keep(run, exported, [0.3, 0.6, 0.997])
    assert probe(Config(), run, exported).largest_difference == pytest.approx(0.003, abs=1e-6)
    keep(run, worse := replace(exported, warnings=("another",)), [0.3, 0.6, 0.97])
    with pytest.raises(ServingError, match=r"differs from the evaluation's by 0\.03, more than 0\.005"):
        probe(Config(), run, worse)


@quickly
def test_a_score_that_is_not_a_number_is_refused(tmp_path):
    with pytest.raises(ServingError, match="no probabilities"):
        probe_model(save(Divider(), tmp_path))


@quickly
def test_a_failing_model_is_refused_without_quoting_the_question(tmp_path):
    with pytest.raises(ServingError, match="InvalidArgumentError") as raised:
        probe_model(save(Quoter(), tmp_path))

    assert "why" not in str(raised.value)


@quickly
def test_a_model_that_does_not_load_is_refused_without_its_place(run, comparison, tmp_path):
    other = replace(comparison, candidate=replace(comparison.candidate, model=store_model(run.store, "no graph")))
    keep(run, other, SCORES)

    with pytest.raises(ServingError, match="ended with status 1") as raised:
        probe(Config(), run, other)

    assert str(tmp_path) not in str(raised.value)


def test_the_hard_questions_are_those_that_break_tokenizers():
    assert "" in HARD_QUESTIONS
    assert max(len(question) for question in HARD_QUESTIONS) == 10_000
    assert any("\0" in question for question in HARD_QUESTIONS)


def test_the_server_imports_nothing_of_this_package():
    tree = ast.parse((PROJECT / "ml" / "serve" / "server.py").read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert imported - sys.stdlib_module_names == {"tensorflow", "tensorflow_text"}
