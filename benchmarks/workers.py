"""Measure training on one machine and on two: here processes on loopback, each with one core of its own.

usage: python -m benchmarks workers          (all arms)
       python -m benchmarks.workers ADDRESSES NUMBER
"""

import json
import os
import subprocess
import sys
import time

import numpy as np

from benchmarks.processes import PROJECT, free_port, python

BATCH, TOKENS, STEPS, WARM_UP = 32, 20, 30, 5


def measure(counts: tuple[int, ...] = (1, 2, 1, 2)) -> list[dict[str, object]]:
    """Measure with each number of processes, alternating, the same batches of 32 rows of 20 tokens in float32.

    `share` is the rate divided by that of one process times the number of processes.
    """
    rates = [(count, _together(count)) for count in counts]
    single = float(np.median([rate for count, rate in rates if count == 1]))
    return [
        {"processes": count, "examples/s": rate, "share": f"{rate / (count * single):.2f}"} for count, rate in rates
    ]


def _together(count: int) -> float:
    addresses = ",".join(f"127.0.0.1:{free_port()}" for _ in range(count))
    environment = os.environ | {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    commands = [python("-m", "benchmarks.workers", addresses, str(number)) for number in range(count)]
    running = [
        subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True)
        for command in commands
    ]
    said = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        sys.exit("a process failed")
    return float(json.loads(said[0].splitlines()[-1]))


def main(addresses: str, number: str) -> None:
    """Train as one of the processes; print the examples per second of all."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(number) % len(cores)]})
    from ml.config import Config, TrainConfig
    from ml.encoder.pretrained import read_encoder
    from ml.training.batches import Batch
    from ml.training.hardware import prepare_runtime, start_strategy
    from ml.training.machines.workers import find_workers
    from ml.training.training_step import Trainer

    settings = TrainConfig()
    strategy = start_strategy(find_workers(addresses.split(","), int(number), {}))
    runtime = prepare_runtime(strategy=strategy, precision="float32", seed=settings.seed, max_tokens=TOKENS)
    trainer = Trainer(read_encoder(Config().encoder.source), settings, runtime, total_steps=STEPS + WARM_UP)
    random = np.random.default_rng(0)
    ids = random.integers(1000, 20_000, (BATCH, TOKENS), np.int32)
    labels = random.integers(0, 2, BATCH).astype(np.float32)
    batch = Batch(ids, np.ones_like(ids), labels, np.ones_like(labels), np.arange(BATCH))
    for _ in range(WARM_UP):
        float(trainer.update(batch))
    started = time.perf_counter()
    for _ in range(STEPS):
        float(trainer.update(batch))
    print(json.dumps(STEPS * BATCH / (time.perf_counter() - started)))


if __name__ == "__main__":
    main(*sys.argv[1:])
