"""Evaluate, decide and report with real SavedModels whose score is written in the question."""

import json
import logging
import shutil
from dataclasses import asdict, replace
from functools import cache
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from ml.champion.promote import promote
from ml.config import Config, PolicyConfig, SplitConfig
from ml.errors import LineageError, OutOfResources, RegistryDamaged
from ml.judge.decide import decide
from ml.judge.evaluate import evaluate
from ml.judge.replay import replay
from ml.judge.row_scores import read_scores
from ml.model.predict import LoadedModel, weights_digest
from ml.records import (
    Comparison,
    Contamination,
    DataCheck,
    Decision,
    Evaluation,
    ModelVersion,
    NoChampion,
    PretrainedWeights,
    Split,
    Splits,
    TrainedModel,
    digest,
    from_json,
    to_json,
)
from ml.steps import run_step
from ml.store.files import tree_digest
from tests.judge.examples import DESCRIPTION, FIRST_ENTRY, compare, judged, open_run, probed

TEXTS = ["is it <b>bold</b> 0.9", "why not 0.8", "who is 0.6", "when was 0.3", "where 0.1"]
TARGETS = [1, 0, 1, 0, 0]
# On five rows a candidate cannot pass every guard.
CONFIG = Config(
    policy=PolicyConfig(min_gain_over_baseline=-1, max_calibration_error=1, resamples=100),
    split=SplitConfig(min_clean_test_rows=2),
)
EPOCH = {
    "epoch": 1,
    "loss": 0.2,
    "binary_accuracy": 0.95,
    "precision": 0.7,
    "recall": 0.6,
    "precision_at_recall_50": 0.7,
    "average_precision": 0.65,
}


class Reader(tf.Module):
    """A model whose probability is the last word of the question, raised to a power."""

    def __init__(self, power):
        super().__init__()
        self.power = tf.Variable(power)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")])
    def score(self, texts):
        words = tf.strings.regex_replace(texts, ".* ", "")
        return {"probability": tf.strings.to_number(words) ** self.power}


def store_training(store, model):
    with store.staging() as folder:
        (folder / "training.json").write_text(json.dumps({"epochs": [EPOCH], "layers": {"head": 1}}), encoding="utf-8")
        (folder / "summary.txt").write_text("Total params: 1", encoding="utf-8")
        store.commit(folder, "trainings", model)


@cache
def saved_reader(power):
    """Save a reader once for all tests."""
    folder = TemporaryDirectory()
    reader = Reader(power)
    tf.saved_model.save(reader, folder.name, signatures={"serving_default": reader.score})
    return folder


def train_reader(run, splits, *, power, threshold, fitted_to=()):
    with run.store.staging() as folder:
        shutil.copytree(saved_reader(power).name, folder / "saved_model")
        described = replace(DESCRIPTION, threshold=threshold, fitted_to=tuple(fitted_to))
        (folder / "model.json").write_text(to_json(described), encoding="utf-8")
        model = tree_digest(folder)
        run.store.commit(folder, "models", model)
    store_training(run.store, model)
    return TrainedModel(
        model=model,
        weights=weights_digest(run.store.open("models", model)),
        splits=digest(splits),
        config="6" * 64,
        encoder="reader",
        threshold=threshold,
        rebased=False,
        best_epoch=1,
        examples_per_second=100.0,
        train_seconds=1.0,
        peak_memory_bytes=1000,
        started_from=PretrainedWeights(),
    )


def evaluate_with_page(run, splits, trained):
    return run_step("evaluate", CONFIG, run, (splits, trained))


def decide_with_page(run, comparison):
    return run_step("decide", CONFIG, run, (comparison, probed(comparison)))


def store_splits(store, texts, targets):
    rows = pd.DataFrame(
        {
            "qid": [f"{index:020x}" for index in range(len(texts))],
            "question_text": texts,
            "target": np.array(targets, dtype=np.int8),
        }
    )
    with store.staging() as folder:
        rows.to_parquet(folder / "rows.parquet")
        store.commit(folder, "splits", "7" * 64)
    part = Split(name="test", digest="7" * 64, rows=len(rows), positives=sum(targets))
    return Splits(
        snapshot="1" * 64,
        report="2" * 64,
        strategy="hash",
        seed=42,
        labels=("sincere", "insincere"),
        parts=(replace(part, name="train"), replace(part, name="validation"), part),
        duplicate_texts=0,
        conflicting_texts=0,
        warnings=(),
    )


@pytest.fixture
def run(tmp_path):
    return open_run(tmp_path)


@pytest.fixture
def splits(run):
    return store_splits(run.store, TEXTS, TARGETS)


@pytest.fixture
def trained(run, splits):
    return train_reader(run, splits, power=1.0, threshold=0.7)


@pytest.fixture
def champion(run, splits, trained):
    """Make a champion with the threshold 0.3 whose scores are the squares of the candidate's scores."""
    reader = train_reader(run, splits, power=2.0, threshold=0.3)
    version = run.registry.register(run.store.open("models", reader.model), reader.model)
    run.registry.move_alias("production", version.version, expected=NoChampion())
    return version


def store_part(store, digest, texts):
    with store.staging() as folder:
        pd.DataFrame({"question_text": texts}).to_parquet(folder / "rows.parquet")
        store.commit(folder, "splits", digest)


def read_page(run):
    return (run.reports / "run-1" / "evaluation.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["model.json", "saved_model/saved_model.pb", "saved_model/more"])
def test_a_candidate_whose_files_were_changed_is_not_loaded(run, splits, trained, file):
    (run.store.open("models", trained.model) / file).write_text("changed")
    with pytest.raises(LineageError, match=f"the files of model {trained.model[:12]} are not those that the record"):
        evaluate(CONFIG, run, splits, trained)


def test_warnings_about_the_data_are_in_the_record_and_on_the_page(run, splits):
    drift = DataCheck(name="label drift", column="target", severity="warning", passed=False, observed="0.2")
    splits = replace(splits, warnings=(drift,))
    comparison = evaluate_with_page(run, splits, train_reader(run, splits, power=1.0, threshold=0.7))

    assert comparison.warnings == ("label drift",)
    assert "expectations of the data that failed: label drift; see exploration.html" in read_page(run)


def test_an_evaluation_that_was_cut_off_goes_on_with_the_model_that_it_had_not_scored(
    run, splits, trained, champion, monkeypatch
):
    whole = LoadedModel.score_many
    scored = []

    def cut_off(model, texts, what):
        scored.append(what)
        if scored == ["score the candidate", "score the champion"]:
            raise MemoryError
        return whole(model, texts, what)

    monkeypatch.setattr(LoadedModel, "score_many", cut_off)
    with pytest.raises(OutOfResources):
        evaluate_with_page(run, splits, trained)
    comparison = evaluate_with_page(run, splits, trained)
    assert scored == ["score the candidate", "score the champion", "score the champion"]

    assert run.store.names("scores") == []
    assert evaluate_with_page(run, splits, trained) == comparison
    assert len(scored) == 5


def test_a_first_candidate_is_measured_at_its_own_threshold(run, splits, trained):
    comparison = evaluate(CONFIG, run, splits, trained)

    assert comparison.rival == NoChampion()
    expected = Evaluation(
        model=trained.model,
        weights=trained.weights,
        test="7" * 64,
        rows=5,
        positives=2,
        threshold=0.7,
        precision=0.5,
        recall=0.5,
        f1=0.5,
        best_f1=0.8,
        best_threshold=0.6,
        average_precision=5 / 6,
        precision_at_recall_50=1.0,
        roc_auc=5 / 6,
        log_loss=0.5375318,
        calibration_error=0.34,
        calibration_slope=comparison.candidate.calibration_slope,
        true_positives=1,
        false_positives=1,
        false_negatives=1,
        true_negatives=2,
    )
    assert asdict(comparison.candidate) == pytest.approx(asdict(expected))


def test_the_champion_is_measured_now_on_the_same_rows_at_its_own_threshold(run, splits, trained, champion):
    rival = evaluate(CONFIG, run, splits, trained).rival

    assert rival.champion == champion
    assert (rival.evaluation.model, rival.evaluation.test) == (champion.model, "7" * 64)
    assert rival.evaluation.threshold == 0.3
    assert (rival.evaluation.true_positives, rival.evaluation.false_positives) == (2, 1)


def test_the_scores_of_both_models_are_kept_in_the_order_of_the_rows(run, splits, trained, champion):
    comparison = evaluate(CONFIG, run, splits, trained)

    scores = read_scores(run.store, comparison)

    assert scores.qid.tolist() == [f"{index:020x}" for index in range(5)]
    assert scores.target.tolist() == TARGETS
    assert scores.by_model["candidate"] == pytest.approx([0.9, 0.8, 0.6, 0.3, 0.1])
    assert scores.by_model["champion"] == pytest.approx([0.81, 0.64, 0.36, 0.09, 0.01])
    assert scores.by_model["baseline"].shape == (5,)
    kept = run.store.open("comparisons", digest(comparison)) / "comparison.json"
    assert from_json(kept.read_text(encoding="utf-8"), Comparison) == comparison


def test_rows_that_the_champion_was_trained_on_are_left_out_for_both(run, splits, trained):
    store_part(run.store, "9" * 64, ["Who is 0.6?"])
    reader = train_reader(run, splits, power=2.0, threshold=0.3, fitted_to=["9" * 64])
    version = run.registry.register(run.store.open("models", reader.model), reader.model)
    run.registry.move_alias("production", version.version, expected=NoChampion())

    comparison = evaluate_with_page(run, splits, trained)

    assert comparison.rival.contamination == Contamination(rows=1)
    assert (comparison.candidate.rows, comparison.rival.evaluation.rows) == (4, 4)
    assert comparison.candidate.test == comparison.rival.evaluation.test != "7" * 64
    assert "4 test rows, 1 of them insincere" in read_page(run)


def test_a_retry_gives_the_same_comparison(run, splits, trained, champion):
    assert evaluate(CONFIG, run, splits, trained) == evaluate(CONFIG, run, splits, trained)


def test_a_model_of_other_splits_is_refused(run, splits, trained):
    with pytest.raises(LineageError, match="was trained on splits"):
        evaluate(CONFIG, run, replace(splits, seed=43), trained)


def test_rows_that_are_not_as_recorded_are_refused(run, splits, trained):
    pd.read_parquet(run.store.open("splits", "7" * 64) / "rows.parquet").head(4).to_parquet(
        run.store.open("splits", "7" * 64) / "rows.parquet"
    )

    with pytest.raises(LineageError, match="test rows that are stored are not those of the record"):
        evaluate(CONFIG, run, splits, trained)


def test_a_registry_that_gives_no_definite_answer_stops_the_run(run, splits, trained, champion):
    (run.registry.root / "aliases.json").unlink()

    with pytest.raises(RegistryDamaged):
        evaluate(CONFIG, run, splits, trained)

    assert run.store.names("comparisons") == []


def test_a_champion_whose_files_changed_is_never_measured(run, splits, trained, champion):
    (run.registry.root / "versions/v1/artifact/model.json").write_text('{"threshold": 0.99}', encoding="utf-8")

    with pytest.raises(RegistryDamaged, match="the files of v1"):
        evaluate(CONFIG, run, splits, trained)


def test_the_page_shows_both_models_before_there_is_a_verdict(run, splits, trained, champion):
    evaluate_with_page(run, splits, trained)

    page = read_page(run)
    assert "5 test rows, 2 of them insincere" in page
    assert "Scores of the candidate" in page
    assert "Confusion matrix of the champion" in page
    assert "Total params: 1" in page
    assert "Verdict" not in page


def test_the_page_of_a_first_run_has_no_champion(run, splits, trained):
    evaluate_with_page(run, splits, trained)

    assert "Scores of the champion" not in read_page(run)


def test_questions_stand_escaped_on_the_page_and_nowhere_else(run, splits, trained, caplog):
    caplog.set_level(logging.DEBUG)
    mistaken = train_reader(run, splits, power=1.0, threshold=0.95)

    comparison = evaluate_with_page(run, splits, mistaken)

    assert "is it &lt;b&gt;bold&lt;/b&gt; 0.9" in read_page(run)
    stored = run.store.open("comparisons", digest(comparison))
    assert "bold" not in caplog.text + (stored / "comparison.json").read_text(encoding="utf-8")


def test_the_worst_mistakes_come_first_and_are_at_most_twenty(run):
    texts = [f"sincere number {index} 0.{index}" for index in range(50, 80)]
    splits = store_splits(run.store, [*texts, "insincere 0.9"], [0] * 30 + [1])
    trained = train_reader(run, splits, power=1.0, threshold=0.5)

    evaluate_with_page(run, splits, trained)

    page = read_page(run)
    assert page.count("sincere number") == 20
    assert page.index("number 79") < page.index("number 78") < page.index("number 60")


def test_decide_stores_the_decision_and_puts_it_on_the_page(run, splits, trained, champion):
    comparison = evaluate(CONFIG, run, splits, trained)

    decision = decide_with_page(run, comparison)

    assert (decision.verdict, decision.champion) == ("keep", champion)
    assert decision.comparison == digest(comparison)
    assert (decision.inputs.snapshot, decision.splits, decision.test) == ("1" * 64, digest(splits), "7" * 64)
    assert decision.triggered_by == "command line"
    kept = run.store.open("decisions", digest(decision)) / "decision.json"
    assert from_json(kept.read_text(encoding="utf-8"), Decision) == decision
    assert decision.reason in read_page(run)
    evidence = json.loads((kept.parent / "evidence.json").read_text(encoding="utf-8"))
    assert evidence["figures"]["recall"]["difference"] == -0.5
    assert evidence["slices"]["up to 8 words"] == {"record": "RareSlice", "rows": 5, "positives": 2}
    assert "too few to tell" in read_page(run)
    assert "McNemar" in read_page(run)
    assert "higher than 0.6667" in read_page(run)


def test_decide_refuses_a_comparison_that_is_not_stored(run, splits, trained):
    comparison = evaluate(CONFIG, run, splits, trained)

    elsewhere = replace(comparison, warnings=("another",))
    with pytest.raises(LineageError, match="is not in the store"):
        decide(CONFIG, run, elsewhere, probed(elsewhere))

    assert run.store.names("decisions") == []


def test_decide_refuses_a_probe_of_another_comparison(run, splits, trained):
    comparison = evaluate(CONFIG, run, splits, trained)
    other = probed(replace(comparison, warnings=("another",)))

    with pytest.raises(LineageError, match="the probe is about comparison"):
        decide(CONFIG, run, comparison, other)


def test_a_decision_made_again_is_the_same(run, splits, trained, champion):
    comparison = evaluate(CONFIG, run, splits, trained)
    once, again = (decide(CONFIG, run, comparison, probed(comparison)) for _ in range(2))

    assert once == again


def roll_back_from(run, candidate, champion):
    """Record in the history that the candidate was promoted as v2, and then rolled back from."""
    withdrawn = run.registry.register(run.store.open("models", candidate.model), candidate.model)
    assert withdrawn == ModelVersion(version="v2", model=candidate.model)
    promotion = replace(FIRST_ENTRY, run_id="run-0", version="v2", previous=champion, weights=candidate.weights)
    back = replace(promotion, run_id="back", verdict="rollback", version="v1", previous=withdrawn, weights="0" * 64)
    for entry in (promotion, back):
        run.registry.record(entry, judged(compare(candidate.model, NoChampion())))


def test_a_later_run_does_not_promote_again_what_was_rolled_back_from(run, splits, trained, champion):
    roll_back_from(run, trained, champion)
    comparison = evaluate(CONFIG, run, splits, trained)

    decision = decide_with_page(run, comparison)

    assert decision.verdict == "blocked"
    assert decision.reason == "Champion v1 stays: a version of the same weights or inputs was rolled back from."
    assert decision.past.withdrawn == ModelVersion(version="v2", model=trained.model)
    assert "rolled back before" in read_page(run)
    assert replay(run.store, decision, CONFIG.policy).reproduced


def test_a_forced_run_is_not_blocked_by_a_rollback(run, splits, trained, champion):
    roll_back_from(run, trained, champion)
    comparison = evaluate(CONFIG, run, splits, trained)

    decision = decide(CONFIG, replace(run, force=True), comparison, probed(comparison))

    assert (decision.verdict, decision.past.forced) == ("keep", True)


def test_the_same_model_a_second_time_keeps_itself(run, splits, trained):
    first = evaluate(CONFIG, run, splits, trained)
    promote(CONFIG, run, first, decide(CONFIG, run, first, probed(first)), probed(first))
    again = replace(run, run_id="run-2")

    second = evaluate(CONFIG, again, splits, trained)
    promotion = promote(CONFIG, again, second, decide(CONFIG, again, second, probed(second)), probed(second))

    assert (promotion.verdict, promotion.version) == ("keep", "v1")
    assert again.registry.resolve("production") == ModelVersion(version="v1", model=trained.model)
    assert [entry.verdict for entry in again.registry.history()] == ["promote", "keep"]
