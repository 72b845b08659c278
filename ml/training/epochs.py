"""Train epoch by epoch: measure on the validation rows, stop early, keep the weights of the best epoch."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.config import TrainConfig
from ml.encoder.tokenizer import TokenizedTexts
from ml.metrics import measure
from ml.progress import progress
from ml.run import Observer, unobserved
from ml.training.batches import Batch, PlacedBatch, training_batches
from ml.training.checkpoint import Checkpoints
from ml.training.told_to_end import obeying_sigterm
from ml.training.training_step import Trainer

STEPS_BETWEEN_READS = 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with their labels, 0 or 1, float32 [texts]."""

    texts: TokenizedTexts
    labels: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch's mean loss on the training rows, in nats, and its figures on the validation rows at threshold 0.5."""

    epoch: int
    loss: float
    binary_accuracy: float
    precision: float
    recall: float
    precision_at_recall_50: float
    average_precision: float


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The result of all epochs; the classifier has the weights of the best epoch, by average precision."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    examples_per_second: float


@dataclass
class Course:
    """How far a training has come: its finished epochs, and the loss and number of rows of each step since then.

    `seconds` is the time that all steps took, without validation.
    """

    steps_per_epoch: int
    epochs: list[Epoch] = field(default_factory=list)
    losses: list[Any] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def best_epoch(self) -> int:
        """The number of the first epoch with the highest average precision; 0 before the end of the first epoch."""
        return max(self.epochs, key=lambda epoch: epoch.average_precision).epoch if self.epochs else 0

    @property
    def steps(self) -> int:
        """The number of steps made so far."""
        return len(self.epochs) * self.steps_per_epoch + len(self.losses)

    @property
    def best_step(self) -> int:
        """The last step of the best epoch."""
        return self.best_epoch * self.steps_per_epoch

    def to_json(self) -> dict[str, Any]:
        """Return all fields as plain JSON values; a float32 loss keeps all its digits."""
        losses = np.array(self.losses, np.float32).tolist()
        return {**vars(self), "epochs": [asdict(epoch) for epoch in self.epochs], "losses": losses}


def count_steps(rows: int, settings: TrainConfig) -> int:
    """Count the steps of all epochs together."""
    return math.ceil(rows / settings.batch_size) * settings.epochs


def fit(
    trainer: Trainer,
    train: LabelledTexts,
    validation: LabelledTexts,
    settings: TrainConfig,
    checkpoints: Checkpoints,
    *,
    observe: Observer = unobserved,
) -> Fitted:
    """Train for `epochs`, or until `patience_epochs` epochs in a row bring no higher average precision.

    If there is a checkpoint, training resumes from it and ends with the same weights. A SIGTERM ends the process after
    the step that is being made, once its checkpoint is written. `observe` gets the figures of the last steps once every
    STEPS_BETWEEN_READS steps, and the figures of each epoch.
    """
    course = _restore(checkpoints, math.ceil(len(train.labels) / settings.batch_size))
    checkpoints.agree(course.steps)
    done = len(course.epochs) * len(train.labels) + sum(course.rows)

    def save() -> None:
        checkpoints.save(course.steps, course.to_json(), keep={course.best_step})

    def pause() -> None:
        if checkpoints.due():
            save()
        obey()

    with (
        progress("train", len(train.labels) * settings.epochs, " examples", done=done) as bar,
        obeying_sigterm(save) as obey,
    ):
        while not _is_over(course, settings):
            batches = _batches(trainer, train, settings, course)
            loss = _run_epoch(trainer, trainer.ahead(batches), course, pause, bar=bar, observe=observe)
            scores = trainer.score(validation.texts, pause=obey)
            epoch = _judge(len(course.epochs) + 1, loss, validation.labels, scores)
            course.epochs, course.losses, course.rows = [*course.epochs, epoch], [], []
            bar.clear()
            logger.info("%s", _line(epoch))
            observe(trainer.steps(), _observed(epoch))
            save()
    checkpoints.restore_weights(course.best_step)
    return Fitted(
        epochs=tuple(course.epochs),
        best_epoch=course.best_epoch,
        examples_per_second=len(course.epochs) * len(train.labels) / course.seconds,
    )


def _is_over(course: Course, settings: TrainConfig) -> bool:
    epochs = len(course.epochs)
    return epochs == settings.epochs or epochs - course.best_epoch == settings.patience_epochs


def _restore(checkpoints: Checkpoints, steps_per_epoch: int) -> Course:
    saved = checkpoints.restore()
    if not saved:
        return Course(steps_per_epoch)
    course = Course(**{**saved, "epochs": [Epoch(**epoch) for epoch in saved["epochs"]]})
    logger.info(
        "going on from a checkpoint: %d whole epochs and %d of %d steps were made before",
        len(course.epochs),
        len(course.losses),
        steps_per_epoch,
    )
    return course


def _batches(trainer: Trainer, train: LabelledTexts, settings: TrainConfig, course: Course) -> Iterator[Batch]:
    """Yield the remaining batches of the current epoch; their order is a function of seed and epoch."""
    return training_batches(
        train.texts,
        train.labels,
        batch_size=settings.batch_size,
        widths=trainer.runtime.widths,
        random=np.random.default_rng([settings.seed, len(course.epochs)]),
        skip=len(course.losses),
    )


def _run_epoch(
    trainer: Trainer,
    batches: Iterable[Batch | PlacedBatch],
    course: Course,
    pause: Callable[[], None],
    *,
    bar: Any,
    observe: Observer,
) -> float:
    """Make the remaining steps of an epoch, with a pause before each, and return the mean loss of all its rows."""
    begun, read_at, rows_read = time.monotonic() - course.seconds, course.seconds, sum(course.rows)
    for batch in batches:
        pause()
        course.losses.append(trainer.update(batch))
        course.rows.append(len(batch.rows))
        # Losses are read rarely: a GPU must first finish all work in its queue.
        if len(course.losses) % STEPS_BETWEEN_READS == 1:
            recent, rate = float(np.mean(course.losses[-STEPS_BETWEEN_READS:])), trainer.learning_rate()
            bar.set_postfix_str(f"step {trainer.steps()}, loss {recent:.4f}, lr {rate:.2e}", refresh=False)
            now, rows = time.monotonic() - begun, sum(course.rows)
            speed = (rows - rows_read) / (now - read_at)
            observe(
                trainer.steps(),
                {"train/loss": recent, "train/learning_rate": rate, "train/examples_per_second": speed},
            )
            read_at, rows_read = now, rows
        bar.update(course.rows[-1])
        course.seconds = time.monotonic() - begun
    loss = float(np.average(np.array(course.losses, np.float32), weights=course.rows))
    course.seconds = time.monotonic() - begun
    return loss


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


def _observed(epoch: Epoch) -> dict[str, float]:
    figures = asdict(epoch)
    number, loss = figures.pop("epoch"), figures.pop("loss")
    return {"epoch": number, "train/epoch_loss": loss} | {f"validation/{name}": figures[name] for name in figures}


def _line(epoch: Epoch) -> str:
    figures = asdict(epoch)
    number = figures.pop("epoch")
    return f"epoch {number}: " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
