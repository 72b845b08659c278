from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from ml.config import TrainConfig
from ml.encoder.pretrained import build_tokenizer, read_encoder
from ml.store import Store
from ml.training.checkpoint import open_checkpoints
from ml.training.epochs import Fitted, LabelledTexts, count_steps, fit
from ml.training.hardware import Runtime
from ml.training.training_step import Trainer

QUESTIONS = ["why do cats sleep ?", "bad dogs bark", "how good", "people do bad"] * 4
LABELS = np.array([0, 1, 0, 1] * 4, np.float32)


@pytest.fixture(scope="module")
def pretrained(tiny_encoder: Path):
    return read_encoder(str(tiny_encoder))


@pytest.fixture(scope="module")
def data(pretrained) -> LabelledTexts:
    return LabelledTexts(build_tokenizer(pretrained, 16).tokenize(QUESTIONS), LABELS)


def make_trainer(pretrained, settings, precision="float32", jit_compile=False, widths=(8, 16)) -> Trainer:
    runtime = Runtime(
        precision=precision, jit_compile=jit_compile, strategy=tf.distribute.get_strategy(), widths=widths
    )
    return Trainer(pretrained, settings, runtime, total_steps=count_steps(len(LABELS), settings))


def fit_once(trainer, data, settings, **how):
    with (
        TemporaryDirectory() as folder,
        open_checkpoints(
            Store(Path(folder)), "key", trainer, minutes=settings.checkpoint_minutes, keep_days=1
        ) as checkpoints,
    ):
        return fit(trainer, data, data, settings, checkpoints, **how)


def test_steps_are_counted_with_the_last_smaller_batch():
    assert count_steps(10, TrainConfig(epochs=3, batch_size=4)) == 9


def test_training_stops_when_patience_is_over_and_the_best_epoch_is_kept(pretrained, data):
    settings = TrainConfig(epochs=9, patience_epochs=2, learning_rate=1e-8)
    trainer = make_trainer(pretrained, settings)
    before = trainer.score(data.texts)
    fitted = fit_once(trainer, data, settings)
    assert ([epoch.epoch for epoch in fitted.epochs], fitted.best_epoch) == ([1, 2, 3], 1)
    np.testing.assert_allclose(trainer.score(data.texts), before, atol=1e-5)


class Watched(NamedTuple):
    """One epoch of two steps: what it gave, what was told and written of it, and the classifier's weights before it."""

    trainer: Trainer
    fitted: Fitted
    told: list[tuple[int, dict[str, float]]]
    written: str
    before: list[np.ndarray]


@pytest.fixture(scope="module")
def watched(pretrained, data) -> Watched:
    settings, told = TrainConfig(epochs=1, batch_size=8, learning_rate=0.1), []
    trainer = make_trainer(pretrained, settings)
    before = trainer.classifier.get_weights()
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(StringIO()) as written:
        patch.setattr("ml.progress.LINE_SECONDS", 1e-9)
        fitted = fit_once(trainer, data, settings, observe=lambda step, figures: told.append((step, figures)))
    return Watched(trainer, fitted, told, written.getvalue(), before)


def test_a_step_is_traced_once_and_changes_every_weight(watched):
    trainer = watched.trainer
    assert trainer._update.experimental_get_tracing_count() == 1
    unchanged = [
        variable.name
        for variable, old in zip(trainer.classifier.weights, watched.before, strict=True)
        if np.array_equal(variable, old)
    ]
    # The bias of a key adds the same value to all scores of a query, and softmax ignores it.
    assert [name for name in unchanged if "key/bias" not in name] == []


def test_progress_says_step_loss_rate_speed_and_time_left(watched):
    *_, last = (line for line in watched.written.splitlines() if line.startswith("train:"))
    assert all(part in last for part in ("16/16 [", "<", " examples/s", "step ", "loss ", "lr "))


def test_whoever_looks_on_is_told_how_the_steps_and_the_epoch_went(watched):
    (first, steps), (last, epoch) = watched.told
    assert (first, last) == (1, 2)
    assert set(steps) == {"train/loss", "train/learning_rate", "train/examples_per_second"}
    assert steps["train/examples_per_second"] > 0
    assert epoch["train/epoch_loss"] == watched.fitted.epochs[0].loss
    assert epoch["validation/average_precision"] == watched.fitted.epochs[0].average_precision


@pytest.mark.parametrize(
    ("precision", "jit_compile"), [("mixed_bfloat16", False), ("mixed_float16", False), ("float32", True)]
)
def test_any_precision_and_compiler_learns(pretrained, data, precision, jit_compile):
    settings = TrainConfig(epochs=12, patience_epochs=12, batch_size=8, learning_rate=1e-2)
    trainer = make_trainer(pretrained, settings, precision, jit_compile)
    fitted = fit_once(trainer, data, settings)
    assert fitted.epochs[-1].loss < fitted.epochs[0].loss / 2
    assert trainer.score(data.texts).dtype == np.float32


def test_widths_and_rows_that_fill_a_batch_change_no_weight_and_no_score(pretrained, data):
    settings = TrainConfig(epochs=1, batch_size=6, learning_rate=1e-2, dropout=0.0)  # batches of 6, 6 and 4 rows
    plain = replace(pretrained, sizes=replace(pretrained.sizes, dropout=0.0, attention_dropout=0.0))
    natural, filled = (make_trainer(plain, settings, widths=widths) for widths in ((), (8, 16)))
    losses = [fit_once(trainer, data, settings).epochs[0].loss for trainer in (natural, filled)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    for one, other in zip(natural.classifier.get_weights(), filled.classifier.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
