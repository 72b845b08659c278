"""Train for some steps in each number format, with and without XLA."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from benchmarks.gpu_check.encoders import SIZES, VOCABULARY, read_without_dropout, training_flops
from ml.config import TrainConfig
from ml.encoder.pretrained import PretrainedEncoder, read_encoder
from ml.training.batches import Batch
from ml.training.hardware import Precision, Runtime, tf32
from ml.training.training_step import Trainer

Row = dict[str, Any]
TINY_BATCH, TINY_WIDTHS, TINY_STEPS = 8, (16, 32), 20
# How far a loss may be from the CPU's in float32, in nats.
TOLERANCES = {"float32": 1e-4, "TF32": 5e-3, "mixed_bfloat16": 3e-2, "mixed_float16": 1e-2}


class Way(NamedTuple):
    """A way to train: number format, TF32, XLA."""

    precision: Precision
    tf32: bool
    xla: bool

    @property
    def numbers(self) -> str:
        """The number format of the products."""
        return "TF32" if self.tf32 else self.precision

    @property
    def shown(self) -> Row:
        """The first cells of a row."""
        return {"numbers": self.numbers, "XLA": "yes" if self.xla else "no"}


def way_of(name: str) -> Way:
    """The way that a name such as `tf32 xla` or `mixed_bfloat16` stands for."""
    numbers, _, xla = name.partition(" ")
    return Way("float32" if numbers == "tf32" else numbers, tf32=numbers == "tf32", xla=bool(xla))  # type: ignore[arg-type]


def make_batch(rows: int, width: int, vocabulary: int, seed: int) -> Batch:
    """Make a batch whose rows are all as wide as the batch; the label is whether the second token's id is odd."""
    random = np.random.default_rng(seed)
    ids = random.integers(4, vocabulary, (rows, width)).astype(np.int32)
    ids[:, 0] = 2
    labels = (ids[:, 1] % 2).astype(np.float32)
    return Batch(ids, np.ones_like(ids), labels, np.ones_like(labels), np.arange(rows))


def trainer_of(pretrained: PretrainedEncoder, way: Way, settings: TrainConfig, strategy: Any = None) -> Trainer:
    """Make a trainer; by default for one device."""
    tf.keras.utils.set_random_seed(settings.seed)
    runtime = Runtime(
        precision=way.precision,
        jit_compile=way.xla,
        strategy=strategy or tf.distribute.get_strategy(),
        widths=(),
    )
    return Trainer(pretrained, settings, runtime, total_steps=1000)


def tiny_losses(encoder: Path, way: Way) -> list[float]:
    """Train the tiny encoder on one batch of each width, again and again, and return the loss of each step."""
    settings = TrainConfig(dropout=0.0, learning_rate=1e-3, warmup_fraction=0.0)
    trainer = trainer_of(read_without_dropout(encoder), way, settings)
    batches = [make_batch(TINY_BATCH, width, VOCABULARY["tiny"], seed=width) for width in TINY_WIDTHS]
    with tf32(allowed=way.tf32):
        return [float(trainer.update(batches[step % len(batches)])) for step in range(TINY_STEPS)]


def tiny(encoder: Path, ways: Sequence[Way]) -> Iterator[Row]:
    """Compare the losses of each way with those of the CPU in float32, and count what XLA compiles."""
    with tf.device("/CPU:0"):
        reference = tiny_losses(encoder, way_of("float32"))
    for way in ways:
        before = _compilations()
        losses = tiny_losses(encoder, way)
        far = float(np.abs(np.subtract(losses, reference)).max())
        compiled = _compilations() - before
        falls = np.mean(losses[-4:]) < np.mean(losses[:4])
        counted = compiled == (len(TINY_WIDTHS) if way.xla else 0)  # one step for each width
        yield {
            **way.shown,
            "first loss": losses[0],
            "last loss": losses[-1],
            "farthest from the CPU's": far,
            "compilations of the step": compiled,
            "right": bool(falls and counted and far < TOLERANCES[way.numbers]),
        }


class Shape(NamedTuple):
    """What is measured: a way to train, rows and tokens of a batch, and a number of steps."""

    way: Way
    rows: int
    width: int
    steps: int


def base(encoder: Path, size: str, shapes: Sequence[Shape], peak: float) -> Iterator[Row]:
    """Measure training; `peak` is in FLOP/s. A shape that fails says why."""
    pretrained = read_encoder(str(encoder))
    for shape in shapes:
        shown = {**shape.way.shown, "rows": shape.rows, "tokens": shape.width}
        try:
            yield shown | _measured(pretrained, size, shape, peak)
        except tf.errors.OpError as error:
            yield shown | {"failed": f"{type(error).__name__}: {str(error)[:300]}", "right": False}


def _measured(pretrained: PretrainedEncoder, size: str, shape: Shape, peak: float) -> Row:
    way, rows, width, steps = shape
    with tf32(allowed=way.tf32):
        trainer = trainer_of(pretrained, way, TrainConfig(batch_size=rows))
        batches = [make_batch(rows, width, VOCABULARY[size], seed) for seed in range(4)]
        started = time.perf_counter()
        first = float(trainer.update(batches[0]))
        compiling = time.perf_counter() - started
        _train(trainer, batches, 3)
        seconds, last = _train(trainer, batches, steps)
        _profile(trainer, batches, f"{way.numbers}-{way.xla}-{width}")
    rate = rows * steps / seconds
    flops = training_flops(SIZES[size], width) * rate
    return {
        "examples/s": rate,
        "ms a step": 1e3 * seconds / steps,
        "first step, s": compiling,
        "TFLOP/s": flops / 1e12,
        "share of the bf16 peak, %": 100 * flops / peak,
        "GPU memory, MiB": _peak_mib(),
        "first loss": first,
        "last loss": last,
        "right": bool(np.isfinite(last)),
    }


def _train(trainer: Trainer, batches: Sequence[Batch], steps: int) -> tuple[float, float]:
    """Train, and return the seconds, and the last loss; to read it, the device must have done all of its work."""
    started = time.perf_counter()
    for batch in trainer.ahead(batches[step % len(batches)] for step in range(steps)):
        loss = trainer.update(batch)
    last = float(loss)
    return time.perf_counter() - started, last


def _profile(trainer: Trainer, batches: Sequence[Batch], name: str) -> None:
    """Write a profile of five steps into the folder that SINCERE_PROFILE names, if it names one."""
    folder = os.environ.get("SINCERE_PROFILE")
    if folder:
        with tf.profiler.experimental.Profile(f"{folder}/{name}"):
            _train(trainer, batches, 5)


def _peak_mib() -> float:
    with suppress(ValueError):
        return float(tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20)
    return 0.0


def _compilations() -> int:
    """Count the training steps that XLA has compiled: it writes each to its folder of dumps."""
    folder = Path(os.environ["SINCERE_XLA_DUMPS"])
    return len({path.name.split(".")[0] for path in folder.glob("*_update_one_device_*before_optimizations*")})
