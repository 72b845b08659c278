"""Measure training throughput: the notebook's recipe and ours, with the same encoder on the same rows, in turns.

The encoder is a TF-Hub module of the real size with random weights: a step costs the same as with trained weights.
Each recipe (arm) runs in a process of its own, and steps that trace or warm up are not counted. The environment
variable `SOURCE` names a CSV to train on; without it the rows are generated.

usage of one arm: python -m benchmarks.training notebook|ours MODULE STEPS ROWS.csv OUTPUT.json
"""

import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.hub_module import SIZES
from benchmarks.processes import python, run
from ml.config import Config
from ml.source.sample import write_sample

ROUNDS = 3
STEPS = {("bert-base", "notebook"): 3, ("bert-base", "ours"): 50, ("minilm", "notebook"): 4, ("minilm", "ours"): 150}
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


def measure() -> list[dict[str, object]]:
    """Measure each size and round: examples per second of both recipes, and their ratio."""
    with tempfile.TemporaryDirectory(prefix="sincere-bench-") as folder:
        rows = Path(os.environ.get("SOURCE") or Path(folder) / "rows.csv")
        if not rows.exists():
            write_sample(rows, rows=20_000, seed=42)
        results = []
        for size in SIZES:
            module = Path(folder) / size
            run(python("-m", "benchmarks.hub_module", size, str(module)), environment=ENVIRONMENT, log=_log(folder))
            results += [_measure_round(Path(folder), rows, size, number + 1) for number in range(ROUNDS)]
        return results


def _measure_round(folder: Path, rows: Path, size: str, number: int) -> dict[str, object]:
    speeds = {}
    for arm in ("notebook", "ours"):
        output = folder / f"{size}-{arm}-{number}.json"
        steps = str(STEPS[size, arm])
        command = python("-m", "benchmarks.training", arm, str(folder / size), steps, str(rows), str(output))
        run(command, environment=ENVIRONMENT, log=_log(folder))
        speeds[arm] = json.loads(output.read_text(encoding="utf-8"))
    return {
        "encoder": size,
        "round": number,
        "notebook, examples/s": speeds["notebook"],
        "ours, examples/s": speeds["ours"],
        "ratio": speeds["ours"] / speeds["notebook"],
    }


def _log(folder: str | Path) -> Path:
    return Path(folder) / "log"


def notebook_arm(module: Path, steps: int, texts: list[str], labels: np.ndarray) -> float:
    """Measure the examples per second of the notebook's `model.fit` after the first step.

    The first step traces the graph and fills the shuffle buffer.
    """
    import tf_keras

    from benchmarks import notebook

    layer = notebook.open_module(module)
    model = notebook.classifier(layer)
    batches = notebook.dataset(layer, np.array(texts), labels)
    ends: list[float] = []
    clock = tf_keras.callbacks.LambdaCallback(on_batch_end=lambda batch, logs: ends.append(time.perf_counter()))
    model.fit(batches.take(1 + steps), verbose=0, callbacks=[clock])
    return steps * notebook.BATCH_SIZE / (ends[-1] - ends[0])


def our_arm(module: Path, steps: int, texts: list[str], labels: np.ndarray) -> float:
    """Measure the examples per second of our epochs, after a warm-up of a fifth of the steps."""
    from ml.encoder.pretrained import build_tokenizer, read_encoder
    from ml.store import Store
    from ml.training.checkpoint import open_checkpoints
    from ml.training.epochs import LabelledTexts, fit
    from ml.training.hardware import prepare_runtime, start_strategy
    from ml.training.machines.workers import Alone
    from ml.training.training_step import Trainer

    settings = replace(Config().train, epochs=1)
    runtime = prepare_runtime(
        strategy=start_strategy(Alone()), precision="auto", seed=settings.seed, max_tokens=Config().encoder.max_tokens
    )
    pretrained = read_encoder(str(module))
    tokenizer = build_tokenizer(pretrained, Config().encoder.max_tokens)
    trainer = Trainer(pretrained, settings, runtime, total_steps=2 * steps)

    def tokenized(rows: slice) -> LabelledTexts:
        return LabelledTexts(tokenizer.tokenize(texts[rows]), labels[rows].astype(np.float32))

    def speed(rows: int) -> float:
        with (
            tempfile.TemporaryDirectory() as folder,
            open_checkpoints(Store(Path(folder)), "x", trainer, minutes=10, keep_days=1) as kept,
        ):
            return fit(trainer, tokenized(slice(0, rows)), validation, settings, kept).examples_per_second

    counted = steps * settings.batch_size
    validation = tokenized(slice(counted, counted + 500))
    speed(counted // 5)
    return speed(counted)


def main(arm: str, module: str, steps: str, rows: str, output: str) -> None:
    """Measure one arm and write its examples per second."""
    table = pd.read_csv(rows, keep_default_na=False)
    measure_arm = {"notebook": notebook_arm, "ours": our_arm}[arm]
    speed = measure_arm(Path(module), int(steps), table["question_text"].tolist(), table["target"].to_numpy(np.int32))
    Path(output).write_text(json.dumps(speed), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
