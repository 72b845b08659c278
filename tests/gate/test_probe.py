"""The probe on real SavedModels in real fresh processes."""

import ast
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from ml.config import Config
from ml.errors import ServingError
from ml.gate.probe import HARD_QUESTIONS, probe, probe_model
from ml.gate.scores import Scores, keep_scores
from ml.records import AbsentChampion, digest
from ml.store import tree_digest
from tests.gate.examples import compare, open_workspace

PROJECT = Path(__file__).parents[2]
TEXTS = ["why", "who is", "what is it"]
SCORES = [0.3, 0.6, 1.0]  # a tenth of the characters


class Measurer(tf.Module):
    """The probability is a tenth of the text's characters, at most 1."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")])
    def score(self, texts):
        characters = tf.cast(tf.strings.length(texts, unit="UTF8_CHAR"), tf.float32)
        return {"probability": tf.minimum(characters / 10, 1)}


class Divider(tf.Module):
    """Not a number for an empty text."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")])
    def score(self, texts):
        characters = tf.cast(tf.strings.length(texts), tf.float32)
        return {"probability": characters / characters}


class Quoter(tf.Module):
    """Fails on all but numbers, and its error quotes the text."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")])
    def score(self, texts):
        return {"probability": tf.strings.to_number(texts)}


def save(module, folder):
    tf.saved_model.save(module, str(folder / "saved_model"), signatures={"serving_default": module.score})
    return folder


@pytest.fixture
def workspace(tmp_path):
    return open_workspace(tmp_path)


@pytest.fixture
def comparison(workspace):
    """A candidate that measures texts, compared on three rows."""
    with workspace.store.staging() as folder:
        model = tree_digest(save(Measurer(), folder))
        workspace.store.commit(folder, "models", model)
    with workspace.store.staging() as folder:
        pd.DataFrame({"question_text": TEXTS}).to_parquet(folder / "rows.parquet")
        workspace.store.commit(folder, "splits", "7" * 64)
    return compare(model, AbsentChampion())


def keep(workspace, comparison, scores):
    arrays = Scores(
        qid=np.array(["0", "1", "2"]), target=np.array([0, 0, 1]), by_model={"candidate": np.float32(scores)}
    )
    keep_scores(workspace.store, comparison, arrays)


def test_a_model_that_scores_as_it_was_evaluated_passes(workspace, comparison):
    keep(workspace, comparison, SCORES)

    record = probe(Config(), workspace, comparison)

    assert (record.model, record.comparison) == (comparison.candidate.model, digest(comparison))
    assert (record.questions, record.rows) == (8, 3)
    assert record.largest_difference < 1e-6


def test_a_model_that_scores_otherwise_than_evaluated_is_refused(workspace, comparison):
    keep(workspace, comparison, [0.3, 0.6, 0.99])

    with pytest.raises(ServingError, match=r"differs from the evaluation's by 0\.01"):
        probe(Config(), workspace, comparison)


def test_a_score_that_is_not_a_number_is_refused(tmp_path):
    with pytest.raises(ServingError, match="no probabilities"):
        probe_model(save(Divider(), tmp_path))


def test_a_failing_model_is_refused_without_quoting_the_question(tmp_path):
    with pytest.raises(ServingError, match="InvalidArgumentError") as raised:
        probe_model(save(Quoter(), tmp_path))

    assert "why" not in str(raised.value)


def test_a_model_that_does_not_load_is_refused_without_its_place(workspace, comparison):
    other = replace(comparison, candidate=replace(comparison.candidate, model="e" * 64))
    keep(workspace, other, SCORES)
    with workspace.store.staging() as folder:
        (folder / "saved_model").mkdir()
        workspace.store.commit(folder, "models", "e" * 64)

    with pytest.raises(ServingError, match="ended with status 1") as raised:
        probe(Config(), workspace, other)

    assert str(workspace.store.root) not in str(raised.value)


def test_the_hard_questions_are_those_that_break_tokenizers():
    assert "" in HARD_QUESTIONS
    assert max(len(question) for question in HARD_QUESTIONS) == 10_000
    assert any("\0" in question for question in HARD_QUESTIONS)


def test_the_server_imports_nothing_of_this_package():
    tree = ast.parse((PROJECT / "ml" / "model" / "server.py").read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}

    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))
    assert imported - sys.stdlib_module_names == {"numpy", "tensorflow", "tensorflow_text"}
