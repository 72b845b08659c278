"""The step `train`: fine-tune the encoder on the training rows, choose the threshold, export the candidate."""

import json
import logging
import math
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from ml.config import Config, TrainConfig
from ml.config.redaction import public_name
from ml.data.rows import read_part
from ml.encoder.pretrained import PretrainedEncoder, build_tokenizer, encoder_digest, read_encoder
from ml.encoder.tokenizer import Tokenizer
from ml.encoder.weights import PretrainedBert
from ml.errors import ConfigError, DataError
from ml.fingerprint import training_digest
from ml.model.classifier import count_parameters, named_weights, start_at_share, summarize
from ml.model.export import export_classifier
from ml.model.predict import LoadedModel, load_model, weights_digest
from ml.model.profile import profile_of
from ml.model.threshold import (
    Float32Array,
    choose_dominating_threshold,
    choose_threshold,
    operating_point,
    rows_as_in_service,
)
from ml.records import (
    Champion,
    Joined,
    ModelDescription,
    NoChampion,
    Profile,
    Split,
    Splits,
    TrainedModel,
    digest,
    to_json,
)
from ml.registry import CHAMPION_ALIAS
from ml.run import Run
from ml.store import Store
from ml.store.files import tree_digest
from ml.store.plain_path import plain_path
from ml.training.checkpoint import open_checkpoints, training_key
from ml.training.epochs import Fitted, count_steps, fit
from ml.training.hardware import prepare_runtime, start_strategy, tf32
from ml.training.machines.meeting import gather
from ml.training.machines.shards import Shards
from ml.training.machines.workers import Alone, Workers
from ml.training.served_form import Exporter, choose_served_precision, export_in_form
from ml.training.training_step import Trainer
from ml.training.warm_start import Start, begin, vocabulary_digest

_BYTES_PER_MAXRSS = 1024  # Linux counts it in KiB

logger = logging.getLogger(__name__)


def train(config: Config, run: Run, splits: Splits) -> TrainedModel:
    """Train a model, and store the model and its training under the model's digest.

    A training that was killed resumes from its last checkpoint.

    Raises LineageError if the splits are not stored as recorded, DataError if the training or the validation rows have
    one class only, ConfigError if there is no usable encoder at the source, SourceUnavailable if its hub does not
    answer, RegistryUnavailable if the registry does not tell which model is the champion.
    """
    started = time.monotonic()
    training = _prepare(config, run, splits, number=0)
    pretrained, trainer = training.pretrained, training.trainer
    validation_rows = read_part(run.store, training.validation)
    precision = choose_served_precision(config.serve.precision, pretrained)
    with _fitted(training, run) as fitted, run.store.staging() as staged:
        exporter = Exporter(
            write=partial(
                export_classifier,
                pretrained=pretrained,
                tokenizer=training.tokenizer,
                weights=named_weights(trainer.classifier),
                seed=config.train.seed,
            ),
            score=lambda saved_model: _score_validation(saved_model, validation_rows),
            choose=_threshold_chooser(config, run, training.champion, validation_rows),
            labels=validation_rows["target"].to_numpy(np.float32),
        )
        form, scores, threshold = export_in_form(
            staged / "model" / "saved_model", config.serve.precision, precision, exporter
        )
        profile = _profile(config, scores, validation_rows, threshold)
        description = _description(config, splits, threshold, training.start, pretrained, profile=profile)
        (staged / "model" / "model.json").write_text(to_json(description), encoding="utf-8")
        _write_training(staged / "training", fitted, trainer)
        model = _commit(run.store, staged)
    return TrainedModel(
        model=model,
        weights=weights_digest(run.store.open("models", model)),
        splits=digest(splits),
        config=training_digest(config),
        encoder=public_name(config.encoder.source),
        threshold=threshold,
        rebased=config.threshold.rebase,
        best_epoch=fitted.best_epoch,
        examples_per_second=round(fitted.examples_per_second, 1),
        train_seconds=round(time.monotonic() - started, 1),
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_PER_MAXRSS,
        started_from=training.start.weights,
        form=form,
    )


def join(config: Config, run: Run, splits: Splits, number: int) -> Joined:
    """Take part, as worker `number`, in a training that another machine leads; nothing is written.

    It ends when the last epoch has ended. Raises as `train` does.
    """
    started = time.monotonic()
    training = _prepare(config, run, splits, number=number)
    with _fitted(training, run):
        logger.info("the training has ended; its leader exports the model")
    return Joined(
        splits=digest(splits),
        worker=training.workers.number,
        machines=training.workers.machines,
        seconds=round(time.monotonic() - started, 1),
    )


@dataclass(frozen=True, kw_only=True)
class _Training:
    """What all machines of a training have alike, but for their places among the `workers`."""

    settings: TrainConfig
    champion: Champion
    train: Split
    validation: Split
    pretrained: PretrainedEncoder
    tokenizer: Tokenizer
    trainer: Trainer
    start: Start
    key: str
    workers: Workers | Alone


def _prepare(config: Config, run: Run, splits: Splits, *, number: int) -> _Training:
    train_part, validation_part = splits.part("train"), splits.part("validation")
    for part in (train_part, validation_part):
        _check_classes(part)
    workers = gather(config.train, run, number, os.environ)
    _refuse_other_role(workers, leads=number == 0)
    strategy = start_strategy(workers, wait_minutes=config.train.wait_minutes)
    settings = _grown(config.train, strategy.num_replicas_in_sync)
    champion = run.registry.resolve(CHAMPION_ALIAS)
    pretrained = read_encoder(config.encoder.source)
    runtime = prepare_runtime(
        precision=settings.precision,
        seed=settings.seed,
        max_tokens=config.encoder.max_tokens,
        strategy=strategy,
        workers=workers,
        deterministic=isinstance(pretrained, PretrainedBert),  # the dropout of a hub module has no seed
    )
    tokenizer = build_tokenizer(pretrained, config.encoder.max_tokens)
    trainer = Trainer(pretrained, settings, runtime, total_steps=count_steps(train_part.rows, settings))
    start_at_share(trainer.classifier, train_part.positives / train_part.rows)
    start = begin(trainer.classifier, settings, champion, run.registry, pretrained)
    key = training_key(
        settings,
        [train_part.digest, validation_part.digest],
        f"{encoder_digest(pretrained)} {config.encoder.max_tokens}",
        trainer,
    )
    return _Training(
        settings=settings,
        champion=champion,
        train=train_part,
        validation=validation_part,
        pretrained=pretrained,
        tokenizer=tokenizer,
        trainer=trainer,
        start=start,
        key=key,
        workers=workers,
    )


def _refuse_other_role(workers: Workers | Alone, *, leads: bool) -> None:
    if workers.leads and not leads:
        raise ConfigError(
            "this machine would lead the training",
            where="train.workers, train.machines, --worker and TF_CONFIG",
            fix="tell all machines how many they are, or their addresses, and this one its number by --worker",
        )
    if leads and not workers.leads:
        raise ConfigError(
            "another machine leads this training",
            where="TF_CONFIG",
            fix="run `python -m ml join` here, with the same record, and the step train on the leader",
        )


def _grown(settings: TrainConfig, devices: int) -> TrainConfig:
    """Grow batch and learning rate with the devices, if the settings say so.

    The square root is the rule for Adam: Malladi et al. 2022, "On the SDEs and Scaling Rules for Adaptive Gradient
    Algorithms", arXiv:2205.10287.
    """
    if not settings.grow_batch:
        return settings
    return replace(
        settings,
        batch_size=settings.batch_size * devices,
        learning_rate=settings.learning_rate * math.sqrt(devices),
    )


@contextmanager
def _fitted(training: _Training, run: Run) -> Iterator[Fitted]:
    """Fit the classifier; its checkpoints stay until the context ends without an error."""
    settings, trainer = training.settings, training.trainer
    with open_checkpoints(
        run.store,
        training.key,
        trainer,
        minutes=settings.checkpoint_minutes,
        keep_days=settings.keep_checkpoints_days,
        leads=training.workers.leads,
    ) as checkpoints:
        checkpoints.agree(0)  # before one waits for what another would tokenize
        shards = Shards(
            store=run.store,
            key=training.key,
            tokenizer=training.tokenizer,
            workers=training.workers,
            wait_minutes=settings.wait_minutes,
        )
        texts, validation_texts = shards.read(training.train), shards.read(training.validation)
        with tf32(allowed=settings.tf32):
            fitted = fit(trainer, texts, validation_texts, settings, checkpoints, observe=run.observe)
        yield fitted


def _check_classes(part: Split) -> None:
    if not 0 < part.positives < part.rows:
        raise DataError(
            f"{part.positives} of the {part.rows} {part.name} rows are positive: training needs both classes",
            where=f"store/splits/{part.digest[:12]}",
            fix=f"pull more data, or raise split.{part.name}",
        )


def _score_validation(saved_model: Path, rows: pd.DataFrame) -> Float32Array:
    """Return the exported model's scores, [rows]: with mixed precision the trained model's differ slightly."""
    return LoadedModel(tf.saved_model.load(plain_path(saved_model)), threshold=0.5).score_many(
        rows["question_text"].tolist(), "score the candidate for its threshold"
    )


def _threshold_chooser(
    config: Config, run: Run, champion: Champion, rows: pd.DataFrame
) -> Callable[[Float32Array], float]:
    """Return the function from a candidate's scores, [rows], to its threshold; a champion is scored here, once."""
    labels, texts = rows["target"].to_numpy(np.float32), rows["question_text"].tolist()
    positive_rate = config.threshold.positive_rate
    if isinstance(champion, NoChampion) or config.threshold.rebase:
        return partial(choose_threshold, labels, positive_rate=positive_rate)
    version, rival = champion.version, load_model(run.registry.fetch(champion.version))
    rival_scores = rival.score_many(texts, "score the champion for the threshold")
    to_beat = operating_point(labels, rival_scores, rival.threshold, positive_rate=positive_rate)

    def choose(scores: Float32Array) -> float:
        threshold = choose_dominating_threshold(labels, scores, to_beat, positive_rate=positive_rate)
        logger.info(
            "on validation rows: champion %s has %s, the candidate at threshold %.4f has %s",
            version,
            to_beat,
            threshold,
            operating_point(labels, scores, threshold, positive_rate=positive_rate),
        )
        return threshold

    return choose


def _profile(config: Config, scores: Float32Array, rows: pd.DataFrame, threshold: float) -> Profile:
    labels = rows["target"].to_numpy(np.float32)
    taken = rows_as_in_service(labels, positive_rate=config.threshold.positive_rate)
    return profile_of(rows["question_text"].iloc[taken].tolist(), scores[taken], threshold)


def _description(
    config: Config, splits: Splits, threshold: float, start: Start, pretrained: PretrainedEncoder, *, profile: Profile
) -> ModelDescription:
    parts = [splits.part("train").digest, splits.part("validation").digest]
    return ModelDescription(
        threshold=threshold,
        encoder=encoder_digest(pretrained),
        max_tokens=config.encoder.max_tokens,
        config=training_digest(config),
        snapshot=splits.snapshot,
        splits=digest(splits),
        fitted_to=tuple(dict.fromkeys([*start.fitted_to, *parts])),
        started_from=start.weights,
        vocabulary=vocabulary_digest(pretrained),
        profile=profile,
    )


def _write_training(folder: Path, fitted: Fitted, trainer: Trainer) -> None:
    folder.mkdir()
    epochs = [asdict(epoch) for epoch in fitted.epochs]
    course = {"epochs": epochs, "layers": count_parameters(trainer.classifier)}
    (folder / "training.json").write_text(json.dumps(course, indent=2), encoding="utf-8")
    (folder / "summary.txt").write_text(summarize(trainer.classifier), encoding="utf-8")


def _commit(store: Store, staged: Path) -> str:
    """Store the model and its training, and return the model's digest."""
    model = tree_digest(staged / "model")
    store.commit(staged / "training", "trainings", model)
    store.commit(staged / "model", "models", model)
    return model
