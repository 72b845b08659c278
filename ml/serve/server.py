"""Score texts with a SavedModel as a server would: run by its path, so that nothing of this package is imported.

python -I server.py SAVED_MODEL: a line in is a batch, a JSON list of strings; a line out is its answer, a JSON object.
"""

import json
import re
import resource
import sys
import time
from pathlib import Path

import tensorflow as tf
import tensorflow_text  # noqa: F401, registers the operations of the tokenizer


def main(saved_model: str) -> None:
    """Answer each batch with its probabilities, [texts], the seconds that it took, and the most memory used so far."""
    score = tf.saved_model.load(saved_model).signatures["serving_default"]
    for line in sys.stdin:
        texts = tf.constant(json.loads(line), tf.string)
        start = time.perf_counter()
        scores = score(texts=texts)["probability"].numpy()
        seconds = time.perf_counter() - start
        answer = {"scores": scores.tolist(), "seconds": seconds, "peak_memory_bytes": peak_memory_bytes()}
        print(json.dumps(answer), flush=True)


def peak_memory_bytes() -> int:
    """The most resident memory of this process; Linux counts that of the process which started it in `ru_maxrss`."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        sys.exit(type(error).__name__)  # its message may quote a question
