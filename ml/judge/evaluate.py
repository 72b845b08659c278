"""Step `evaluate`: measure candidate, champion and baseline, now and in one process, on the same test rows."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from ml.config import Config
from ml.config.redaction import source_name
from ml.data.contamination import leave_out_seen
from ml.data.rows import read_part
from ml.errors import LineageError
from ml.judge.baseline import baseline_digest, train_baseline
from ml.judge.row_scores import Scores, forget_scores, keep_scores, scores_of
from ml.metrics import FloatArray, measure
from ml.model.predict import load_model, weights_digest
from ml.records import (
    Comparison,
    Evaluation,
    NoChampion,
    PretrainedWeights,
    Rival,
    SourceName,
    Split,
    Splits,
    TrainedModel,
    digest,
)
from ml.registry import CHAMPION_ALIAS, stored_model
from ml.run import Run
from ml.store import Store

logger = logging.getLogger(__name__)


def evaluate(config: Config, run: Run, splits: Splits, trained: TrainedModel) -> Comparison:
    """Score the models on the test rows, measure each at its own threshold, and store the scores.

    If the champion, or the model that the candidate started from, may have been trained on a test row, no model is
    measured on this row.

    Raises LineageError if the model was not trained on these splits, DataError if too few rows remain,
    RegistryUnavailable if the registry does not tell which model is the champion.
    """
    _refuse_other_splits(splits, trained)
    champion = run.registry.resolve(CHAMPION_ALIAS)
    test, candidate_folder = splits.part("test"), stored_model(run.store, trained.model)
    if not isinstance(champion, NoChampion):
        folder = run.registry.fetch(champion.version)
        warm_started = [] if isinstance(trained.started_from, PretrainedWeights) else [candidate_folder]
        test, contamination = leave_out_seen(config.split, run.store, test, folder, *warm_started)
    rows = read_part(run.store, test)

    scores = {}
    scores["baseline"], baseline = _measure_baseline(config, run.store, splits, test, rows)
    scores["candidate"], candidate = _measure(
        run.store, candidate_folder, test, rows, role="candidate", model=trained.model
    )
    rival: Rival | NoChampion = NoChampion()
    if not isinstance(champion, NoChampion):
        scores["champion"], evaluation = _measure(run.store, folder, test, rows, role="champion", model=champion.model)
        rival = Rival(champion=champion, evaluation=evaluation, contamination=contamination)

    comparison = Comparison(
        snapshot=splits.snapshot,
        trained=trained,
        candidate=candidate,
        baseline=baseline,
        rival=rival,
        warnings=tuple(warning.name for warning in splits.warnings),
        source=SourceName(name=source_name(config.source)),
    )
    kept = Scores(qid=rows["qid"].to_numpy(dtype=np.str_), target=rows["target"].to_numpy(), by_model=scores)
    keep_scores(run.store, comparison, kept)
    measured = [candidate, rival.evaluation] if isinstance(rival, Rival) else [candidate]
    forget_scores(run.store, [each.model for each in measured], test.digest)
    return comparison


def _measure_baseline(
    config: Config, store: Store, splits: Splits, test: Split, rows: pd.DataFrame
) -> tuple[FloatArray, Evaluation]:
    train, validation = (read_part(store, splits.part(name)) for name in ("train", "validation"))
    logger.info("training the baseline on %d rows", len(train))
    baseline = train_baseline(train, validation, positive_rate=config.threshold.positive_rate)
    scores = baseline.score(rows["question_text"].tolist())
    model = baseline_digest(splits, config.threshold.positive_rate)
    return scores, _evaluation(test, rows, scores, model=model, weights=model, threshold=baseline.threshold)


def _measure(
    store: Store, folder: Path, test: Split, rows: pd.DataFrame, *, role: str, model: str
) -> tuple[FloatArray, Evaluation]:
    loaded = load_model(folder)
    texts, weights = rows["question_text"].tolist(), weights_digest(folder)
    scores = scores_of(store, model, test.digest, lambda: loaded.score_many(texts, f"score the {role}"))
    return scores, _evaluation(test, rows, scores, model=model, weights=weights, threshold=loaded.threshold)


def _evaluation(
    test: Split, rows: pd.DataFrame, scores: FloatArray, *, model: str, weights: str, threshold: float
) -> Evaluation:
    return Evaluation(
        model=model,
        weights=weights,
        test=test.digest,
        rows=test.rows,
        positives=test.positives,
        threshold=threshold,
        **measure(rows["target"].to_numpy(), scores, threshold),
    )


def _refuse_other_splits(splits: Splits, trained: TrainedModel) -> None:
    if trained.splits != digest(splits):
        raise LineageError(
            f"the model was trained on splits {trained.splits[:12]}, not on {digest(splits)[:12]}",
            where="the records given to evaluate",
            fix="give evaluate the splits that the model was trained on",
        )
