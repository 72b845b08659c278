"""Measure the statistics behind a decision at full size: 10,000 resamples of a test split of 130,000 rows."""

import resource
import time

import numpy as np

from ml.config import PolicyConfig
from ml.judge.statistics import Pair, label_differences, ranking_differences

ROWS = 130_000


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
    return [{"rows": rows, "resamples": policy.resamples, **cost}]


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
