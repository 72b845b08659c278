"""Measure what a checkpoint costs: seconds to write and to read it, and its size, for two sizes of encoder."""

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.hub_module import SIZES

if TYPE_CHECKING:
    from ml.training.training_step import Trainer

WORDS, POSITIONS = 30_522, 512
ROUNDS = 3


def measure() -> list[dict[str, object]]:
    """Measure each size; seconds are the median of the rounds."""
    os.environ.update(TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="3")
    return [_measure(size) for size in SIZES]


def _measure(size: str) -> dict[str, object]:
    from ml.store import Store
    from ml.training.checkpoint import open_checkpoints

    trainer = _trainer(size)
    writing, reading = [], []
    with (
        tempfile.TemporaryDirectory(prefix="sincere-bench-", dir=os.environ.get("SINCERE_HOME")) as folder,
        open_checkpoints(Store(Path(folder)), "key", trainer, minutes=10, keep_days=1) as checkpoints,
    ):
        for step in range(ROUNDS):
            started = time.perf_counter()
            checkpoints.save(step, {}, keep=())
            written = time.perf_counter()
            checkpoints.restore()
            writing.append(written - started)
            reading.append(time.perf_counter() - written)
        mib = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 2**20
    return {
        "encoder": size,
        "MiB": mib,
        "seconds to write": float(np.median(writing)),
        "seconds to read": float(np.median(reading)),
    }


def _trainer(size: str) -> "Trainer":
    """Build a classifier with random weights and make one step, so that the optimizer has its moments."""
    from ml.config import Config
    from ml.encoder.bert import build_bert
    from ml.encoder.weights import BertSizes, PretrainedBert
    from ml.training.batches import Batch
    from ml.training.hardware import prepare_runtime, start_strategy
    from ml.training.machines.workers import Alone
    from ml.training.training_step import Trainer

    hidden, layers, heads, intermediate = SIZES[size].values()
    sizes = BertSizes(
        vocabulary=WORDS,
        hidden=hidden,
        layers=layers,
        heads=heads,
        intermediate=intermediate,
        positions=POSITIONS,
        types=2,
    )
    weights = {variable.name: variable.numpy() for variable in build_bert(sizes).variables}
    pretrained = PretrainedBert(sizes=sizes, weights=weights, vocabulary=(), lower_case=True)
    runtime = prepare_runtime(strategy=start_strategy(Alone()), precision="auto", seed=1, max_tokens=4)
    trainer = Trainer(pretrained, Config().train, runtime, total_steps=10)
    ids = np.ones((2, 4), np.int32)
    trainer.update(Batch(ids, ids, np.array([0, 1], np.float32), np.ones(2, np.float32), np.arange(2)))
    return trainer
