"""The step `train`: fine-tune the encoder on the training rows, choose the threshold, export the candidate."""

import json
import logging
import resource
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from ml.config import Config, config_digest
from ml.data.rows import read_part
from ml.errors import DataError
from ml.model.classifier import summarize
from ml.model.encoder import build_tokenizer, public_name, read_encoder
from ml.model.export import export_classifier
from ml.model.fit import Fitted, LabelledTexts, count_steps, fit
from ml.model.plot import plot_layers
from ml.model.predict import LoadedModel
from ml.model.runtime import prepare_runtime
from ml.model.threshold import choose_threshold
from ml.model.tokenizer import Tokenizer
from ml.model.trainer import Trainer
from ml.page import svg
from ml.records import Split, Splits, TrainedModel, digest
from ml.store import Store, tree_digest
from ml.workspace import Workspace

_BYTES_PER_MAXRSS = 1024  # Linux counts it in KiB

logger = logging.getLogger(__name__)


def train(config: Config, workspace: Workspace, splits: Splits) -> TrainedModel:
    """Store a model and its training under the model's digest.

    Raises LineageError if the splits are not stored as recorded, DataError if one has a single class, ConfigError if
    there is no usable encoder at the source, SourceUnavailable if its hub does not answer.
    """
    started = time.monotonic()
    train_rows, validation_rows = (
        _read_both_classes(workspace.store, splits.part(name)) for name in ("train", "validation")
    )
    runtime = prepare_runtime(precision=config.train.precision, seed=config.train.seed)
    pretrained = read_encoder(config.encoder.source)
    tokenizer = build_tokenizer(pretrained, config.encoder.max_tokens)
    trainer = Trainer(pretrained, config.train, runtime, total_steps=count_steps(len(train_rows), config.train))
    fitted = fit(trainer, _labelled(train_rows, tokenizer), _labelled(validation_rows, tokenizer), config.train)
    with workspace.store.staging() as staged:
        model, training = staged / "model", staged / "training"
        export_classifier(
            model / "saved_model",
            pretrained=pretrained,
            tokenizer=tokenizer,
            weights=trainer.classifier.get_weights(),
            seed=config.train.seed,
        )
        threshold = _choose_threshold(model / "saved_model", validation_rows, config.threshold.positive_rate)
        _write_json(model / "model.json", _description(config, splits, threshold))
        model_digest = tree_digest(model)
        _write_training(training, fitted, trainer)
        workspace.store.commit(training, "trainings", model_digest)
        workspace.store.commit(model, "models", model_digest)
    return TrainedModel(
        model=model_digest,
        splits=digest(splits),
        config=config_digest(config),
        encoder=public_name(config.encoder.source),
        threshold=threshold,
        best_epoch=fitted.best_epoch,
        examples_per_second=round(fitted.examples_per_second, 1),
        train_seconds=round(time.monotonic() - started, 1),
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_PER_MAXRSS,
    )


def _read_both_classes(store: Store, part: Split) -> pd.DataFrame:
    if not 0 < part.positives < part.rows:
        raise DataError(
            f"{part.positives} of the {part.rows} {part.name} rows are positive: training needs both classes",
            where=f"store/splits/{part.digest[:12]}",
            fix=f"pull more data, or raise split.{part.name}",
        )
    return read_part(store, part)


def _labelled(rows: pd.DataFrame, tokenizer: Tokenizer) -> LabelledTexts:
    return LabelledTexts(tokenizer.tokenize(rows["question_text"].tolist()), rows["target"].to_numpy(np.float32))


def _choose_threshold(saved_model: Path, rows: pd.DataFrame, positive_rate: float) -> float:
    """On scores of what was exported: they differ in the last digits from those of the trained precision."""
    exported = LoadedModel(tf.saved_model.load(str(saved_model)), threshold=0.5)
    scores = exported.score(rows["question_text"].tolist())
    return choose_threshold(rows["target"].to_numpy(np.float32), scores, positive_rate=positive_rate)


def _description(config: Config, splits: Splits, threshold: float) -> dict[str, object]:
    return {
        "threshold": threshold,
        "encoder": public_name(config.encoder.source),
        "max_tokens": config.encoder.max_tokens,
        "config": config_digest(config),
        "splits": digest(splits),
        "fitted_to": [splits.part("train").digest, splits.part("validation").digest],
    }


def _write_training(folder: Path, fitted: Fitted, trainer: Trainer) -> None:
    folder.mkdir()
    _write_json(folder / "training.json", {"epochs": [asdict(epoch) for epoch in fitted.epochs]})
    (folder / "summary.txt").write_text(summarize(trainer.classifier), encoding="utf-8")
    (folder / "plot.svg").write_text(svg(plot_layers(trainer.classifier)), encoding="utf-8")


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
