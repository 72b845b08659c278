"""Score texts with a SavedModel as a server would; this file is run by its path and imports nothing of this package.

usage: python -I server.py SAVED_MODEL. Each line of standard input is a batch, a JSON list of strings; each line of
standard output is the answer to a batch, a JSON object. The server ends when its standard input closes, even while it
loads: then nobody asks any more.
"""

import json
import os
import re
import resource
import sys
import time
from pathlib import Path
from queue import SimpleQueue
from threading import Thread


def main(saved_model: str) -> None:
    """Answer each batch with its probabilities, [texts], the seconds that it took, and the peak memory so far."""
    lines: SimpleQueue[str] = SimpleQueue()
    Thread(target=_read, args=(lines,), daemon=True).start()

    import tensorflow as tf
    import tensorflow_text  # noqa: F401, registers the operations of the tokenizer

    tf.config.experimental.enable_tensor_float_32_execution(False)  # it would move scores by some 1e-3
    score = tf.saved_model.load(saved_model).signatures["serving_default"]
    while True:
        line = lines.get()
        texts = tf.constant(json.loads(line), tf.string)
        start = time.perf_counter()
        scores = score(texts=texts)["probability"].numpy()
        seconds = time.perf_counter() - start
        answer = {"scores": scores.tolist(), "seconds": seconds, "peak_memory_bytes": peak_memory_bytes()}
        print(json.dumps(answer), flush=True)


def _read(lines: "SimpleQueue[str]") -> None:
    """Put each line of standard input into the queue; at its end, end the process at once."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def peak_memory_bytes() -> int:
    """Return the peak resident memory of this process; on Linux `ru_maxrss` includes the process that started it."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        sys.exit(type(error).__name__)  # the error's message may quote a question
