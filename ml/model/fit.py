"""The epochs: train, measure on the validation rows, stop early, keep the best."""

import logging
import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.config import TrainConfig
from ml.metrics import measure
from ml.model.batches import training_batches
from ml.model.tokenizer import TokenizedTexts
from ml.model.trainer import Trainer
from ml.progress import progress

STEPS_BETWEEN_READS = 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledTexts:
    """`texts` with their `labels`, float32 [texts] of 0 and 1."""

    texts: TokenizedTexts
    labels: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Mean loss in nats on the training rows; figures on the validation rows, labels at threshold 0.5."""

    epoch: int
    loss: float
    binary_accuracy: float
    precision: float
    recall: float
    precision_at_recall_50: float
    average_precision: float


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What the epochs gave; the classifier then holds the weights of the best one, by average precision."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    examples_per_second: float


def count_steps(rows: int, settings: TrainConfig) -> int:
    """Steps in all epochs."""
    return math.ceil(rows / settings.batch_size) * settings.epochs


def fit(trainer: Trainer, train: LabelledTexts, validation: LabelledTexts, settings: TrainConfig) -> Fitted:
    """Train for `epochs`, or until `patience_epochs` in a row bring no better average precision."""
    random = np.random.default_rng(settings.seed)
    epochs: list[Epoch] = []
    best_weights: list[NDArray[Any]] = []
    seconds = 0.0
    with progress("train", len(train.labels) * settings.epochs, " examples") as bar:
        while len(epochs) < settings.epochs and len(epochs) - _best(epochs) < settings.patience_epochs:
            started = time.monotonic()
            loss = _run_epoch(trainer, train, settings, random, bar)
            seconds += time.monotonic() - started
            epochs.append(_judge(len(epochs) + 1, loss, validation.labels, trainer.score(validation.texts)))
            bar.clear()
            logger.info("%s", _line(epochs[-1]))
            if _best(epochs) == len(epochs):
                best_weights = trainer.classifier.get_weights()
    trainer.classifier.set_weights(best_weights)
    return Fitted(
        epochs=tuple(epochs),
        best_epoch=_best(epochs),
        examples_per_second=len(epochs) * len(train.labels) / seconds,
    )


def _run_epoch(
    trainer: Trainer, train: LabelledTexts, settings: TrainConfig, random: np.random.Generator, bar: Any
) -> float:
    """One pass over the training rows; gives their mean loss."""
    losses, rows = [], []
    for step, batch in enumerate(
        training_batches(
            train.texts,
            train.labels,
            batch_size=settings.batch_size,
            width_multiple=trainer.runtime.width_multiple,
            random=random,
        )
    ):
        losses.append(trainer.update(batch))
        rows.append(len(batch.labels))
        # Seldom, because a GPU has to finish all of its queue before a loss can be read.
        if step % STEPS_BETWEEN_READS == 0:
            recent = float(np.mean(losses[-STEPS_BETWEEN_READS:]))
            bar.set_postfix_str(
                f"step {trainer.steps()}, loss {recent:.4f}, lr {trainer.learning_rate():.2e}", refresh=False
            )
        bar.update(rows[-1])
    return float(np.average(losses, weights=rows))


def _best(epochs: list[Epoch]) -> int:
    """The number of the first epoch with the highest average precision; 0 before the first."""
    return max(epochs, key=lambda epoch: epoch.average_precision).epoch if epochs else 0


def _judge(number: int, loss: float, labels: NDArray[np.float32], scores: NDArray[np.float32]) -> Epoch:
    figures = measure(labels.astype(np.int8), scores, threshold=0.5)
    return Epoch(
        epoch=number,
        loss=loss,
        binary_accuracy=(figures["true_positives"] + figures["true_negatives"]) / len(labels),
        precision=figures["precision"],
        recall=figures["recall"],
        precision_at_recall_50=figures["precision_at_recall_50"],
        average_precision=figures["average_precision"],
    )


def _line(epoch: Epoch) -> str:
    figures = asdict(epoch)
    number = figures.pop("epoch")
    return f"epoch {number}: " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
