"""The steps train, evaluate and probe, each in a process of its own as in production, and the scores on GPU and CPU."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ml.config import Config
from ml.judge.evaluate import evaluate
from ml.judge.row_scores import read_scores, read_texts
from ml.model.predict import LoadedModel, load_model
from ml.records import Comparison, NoChampion, PairedCosts, Splits, TrainedModel, from_json, to_json
from ml.run import Run
from ml.serve.probe import LARGEST_DIFFERENCE, probe
from ml.training.train import train
from tests.training.splits import make_run, store_splits

Row = dict[str, Any]
BATCH = {"tiny": 8, "base": 256}
BATCHES = 16


def config_of(encoder: Path, size: str, seed: int) -> Config:
    """The settings of the steps: one epoch, batches as in the measurements, texts of 64 tokens at most."""
    config = Config()
    return replace(
        config,
        encoder=replace(config.encoder, source=str(encoder), max_tokens=64),
        train=replace(config.train, epochs=1, batch_size=BATCH[size], seed=seed, learning_rate=2e-5),
        split=replace(config.split, min_clean_test_rows=2),
    )


def run_step(name: str, home: Path, encoder: Path, size: str, seed: int) -> Iterator[Row]:
    """Run one step on the records that the steps before left in the home."""
    run, config = make_run(home), config_of(encoder, size, seed)
    started = time.perf_counter()
    shown = _STEPS[name](config, run, home)
    yield {"step": name, "seconds": time.perf_counter() - started, "told": shown, "right": True}


def _train(config: Config, run: Run, home: Path) -> str:
    rows = BATCHES * config.train.batch_size
    splits = store_splits(run.store, rows=rows, positives=rows // 4)
    trained = train(config, run, splits)
    _keep(home, splits)
    _keep(home, trained)
    return f"{trained.examples_per_second:.0f} examples/s"


def _evaluate(config: Config, run: Run, home: Path) -> str:
    comparison = evaluate(config, run, _kept(home, Splits), _kept(home, TrainedModel))
    _keep(home, comparison)
    return f"{comparison.candidate.rows} rows, average precision {comparison.candidate.average_precision:.4f}"


def _probe(config: Config, run: Run, home: Path) -> str:
    record = probe(config, run, _kept(home, Comparison))
    _keep(home, record)
    costs = record.costs
    beside = f", {costs.batch_ratio:.2f} of the champion's" if isinstance(costs, PairedCosts) else ""
    alone = costs.candidate if isinstance(costs, PairedCosts) else costs
    spent = f"{getattr(alone, 'batch_seconds', 0.0):.4f} s a batch{beside}"
    return f"largest difference {record.largest_difference:.1e}, {type(costs).__name__}, {spent}"


def _crown(config: Config, run: Run, home: Path) -> str:
    """Make the candidate the champion, so that the next steps have two models."""
    model = _kept(home, TrainedModel).model
    version = run.registry.register(run.store.open("models", model), model)
    run.registry.move_alias("production", version.version, expected=NoChampion())
    return version.version


_STEPS: dict[str, Callable[[Config, Run, Path], str]] = {
    "train": _train,
    "evaluate": _evaluate,
    "probe": _probe,
    "crown": _crown,
}


def _keep(home: Path, record: Any) -> None:
    (home / f"{type(record).__name__}.json").write_text(to_json(record), encoding="utf-8")


def _kept(home: Path, kind: type[Any]) -> Any:
    return from_json((home / f"{kind.__name__}.json").read_text(encoding="utf-8"), kind)


def score(home: Path, device: str) -> Iterator[Row]:
    """Score the test rows with the exported candidate on this process' device, and keep the scores in a file."""
    run, comparison = make_run(home), _kept(home, Comparison)
    texts = read_texts(run.store, comparison)
    model = load_model(run.store.open("models", comparison.candidate.model))
    model.score(texts[:256])
    started = time.perf_counter()
    scores = model.score_many(texts, "score")
    seconds = time.perf_counter() - started
    np.save(home / f"scores-{device}.npy", scores)
    np.save(home / f"scores-{device}-tf32.npy", _score_in_tf32(model, texts))
    evaluated = read_scores(run.store, comparison).by_model["candidate"]
    far = float(np.abs(scores - evaluated).max())
    yield {
        "scored on": device,
        "rows/s": len(texts) / seconds,
        "farthest from the evaluation's": f"{far:.1e}",
        "right": far <= LARGEST_DIFFERENCE,
    }


def _score_in_tf32(model: LoadedModel, texts: list[str]) -> Any:
    tf.config.experimental.enable_tensor_float_32_execution(True)
    return model.score(texts[:1024])


def compare_scores(home: Path) -> Iterator[Row]:
    """Compare the scores of GPU and CPU, without TF32, and with it for the record."""
    gpu, cpu = (np.load(home / f"scores-{device}.npy") for device in ("GPU", "CPU"))
    far = float(np.abs(gpu - cpu).max())
    in_tf32 = float(np.abs(np.load(home / "scores-GPU-tf32.npy") - cpu[:1024]).max())
    yield {
        "rows": len(gpu),
        "largest difference": f"{far:.1e}",
        "allowed": f"{LARGEST_DIFFERENCE:.0e}",
        "with TF32 it would be": f"{in_tf32:.1e}",
        "right": far <= LARGEST_DIFFERENCE,
    }
