"""Measure a decision at full size: 10,000 resamples of a test split of 130,612 rows.

`statistics` is the resampling alone, in this process. `decide` is the whole step as Airflow runs it, in a process of
its own, on a comparison and generated questions that are put into a store beforehand.
"""

import json
import resource
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.processes import python, run
from ml.config import PolicyConfig
from ml.judge.row_scores import Scores, keep_scores
from ml.judge.statistics import Pair, label_differences, ranking_differences
from ml.metrics import measure as figures
from ml.records import to_json
from ml.source.sample import write_sample
from ml.store import Store
from tests.judge.examples import BASELINE, CHAMPION, RIVAL, compare, open_run, probed

ROWS = 130_612


def measure(rows: int = ROWS) -> list[dict[str, object]]:
    """Measure wall seconds, CPU seconds and peak memory in MiB, on two synthetic models that disagree."""
    pair, policy = _make_pair(rows), PolicyConfig()
    started, busy = time.perf_counter(), time.process_time()
    random = np.random.default_rng(policy.seed)
    label_differences(
        pair.target, pair.candidate_labels, pair.champion_labels, resamples=policy.resamples, random=random
    )
    ranking_differences(
        pair.target, pair.candidate_scores, pair.champion_scores, resamples=policy.resamples, random=random
    )
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - busy
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cost = {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": peak_mib}
    with tempfile.TemporaryDirectory(prefix="sincere-bench-") as folder:
        step = _decide(Path(folder), pair)
    given = {"rows": rows, "resamples": policy.resamples}
    return [{"what": "statistics", **given, **cost}, {"what": "decide", **given, **step}]


def _decide(home: Path, pair: Pair) -> dict[str, object]:
    """Run the step on a stored comparison of the two models."""
    store = open_run(home).store
    by_model = {
        "candidate": pair.candidate_scores,
        "champion": pair.champion_scores,
        "baseline": pair.champion_scores,
    }
    measured = {model: figures(pair.target, scores, 0.4) for model, scores in by_model.items()}
    rival = replace(RIVAL, evaluation=replace(CHAMPION, **measured["champion"]))
    comparison = replace(
        compare("a" * 64, rival, **measured["candidate"]), baseline=replace(BASELINE, **measured["baseline"])
    )
    qid = np.array([f"{row:020x}" for row in range(len(pair.target))])
    keep_scores(store, comparison, Scores(qid=qid, target=pair.target, by_model=by_model))
    _keep_rows(store, home / "questions.csv", comparison.candidate.test, len(qid))
    _keep_training(store, comparison.trained.model)
    inputs = []
    for name, record in {"comparison": comparison, "probe": probed(comparison)}.items():
        path = home / f"{name}.json"
        path.write_text(to_json(record), encoding="utf-8")
        inputs += ["--input", str(path)]
    command = python("-m", "ml", "decide", *inputs, "--run-id", "bench", "--output", str(home / "decision.json"))
    return asdict(run(command, environment={"SINCERE_HOME": str(home)}, log=home / "log"))


def _keep_rows(store: Store, csv: Path, test: str, rows: int) -> None:
    write_sample(csv, rows=rows, seed=1)
    with store.staging() as folder:
        pd.read_csv(csv).to_parquet(folder / "rows.parquet")
        store.commit(folder, "splits", test)


def _keep_training(store: Store, model: str) -> None:
    """Store what the report shows of a training."""
    figures = dict.fromkeys(("binary_accuracy", "precision", "recall", "precision_at_recall_50"), 0.5)
    epoch = {"epoch": 1, "loss": 0.5, "average_precision": 0.5, **figures}
    with store.staging() as folder:
        course = json.dumps({"epochs": [epoch], "layers": {"head": 1}})
        (folder / "training.json").write_text(course, encoding="utf-8")
        (folder / "summary.txt").write_text("", encoding="utf-8")
        store.commit(folder, "trainings", model)


def _make_pair(rows: int) -> Pair:
    random = np.random.default_rng(0)
    target = (random.random(rows) < 0.0619).astype(int)
    known = random.normal(-4 + 3.6 * target, 1.8)
    candidate, champion = (
        (1 / (1 + np.exp(-known - random.normal(0, 0.7, rows)))).astype(np.float32) for _ in range(2)
    )
    return Pair(
        target=target,
        candidate_scores=candidate,
        champion_scores=champion,
        candidate_labels=candidate >= 0.4,
        champion_labels=champion >= 0.4,
    )
