"""Score texts with a SavedModel as a server would: run by its path, so that nothing of this package is imported.

python -I server.py SAVED_MODEL SCORES.npy < TEXTS.json
"""

import json
import sys

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401, registers the operations of the tokenizer

BATCH_TEXTS = 32


def main(saved_model: str, output: str) -> None:
    """Write the probabilities, float32 [texts], of a JSON list of strings on standard input."""
    texts = json.load(sys.stdin)
    score = tf.saved_model.load(saved_model).signatures["serving_default"]
    batches = [texts[first : first + BATCH_TEXTS] for first in range(0, len(texts), BATCH_TEXTS)]
    scores = [score(texts=tf.constant(batch, tf.string))["probability"].numpy() for batch in batches]
    np.save(output, np.concatenate(scores))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        sys.exit(type(error).__name__)  # its message may quote a question
