"""Score by the exported model, as `predict` does.

usage: python -m benchmarks.peers.our_scores export OUTPUT-FOLDER
       python -m benchmarks.peers.our_scores float32|bfloat16 OUTPUT-FOLDER ROWS.csv ROWS
"""

import json
import sys
import time
from pathlib import Path
from typing import get_args

import tensorflow as tf

from benchmarks.peers.questions import MAX_TOKENS, read
from ml.config import Config
from ml.encoder.pretrained import build_encoder, build_tokenizer, read_encoder
from ml.model.classifier import build_classifier
from ml.model.export import ServedPrecision, export_classifier
from ml.model.predict import LoadedModel

_WARM_UP_ROWS = 256


def export(output: str) -> None:
    """Write the SavedModel of a classifier with the default encoder, in each number format."""
    pretrained = read_encoder(Config().encoder.source)
    classifier = build_classifier(build_encoder(pretrained), dropout=0.0, seed=0)
    for precision in get_args(ServedPrecision):
        export_classifier(
            Path(output) / precision,
            precision,
            pretrained=pretrained,
            tokenizer=build_tokenizer(pretrained, MAX_TOKENS),
            weights=classifier.get_weights(),
            seed=0,
        )


def score(precision: str, output: str, csv: str, rows: str) -> None:
    """Print the rows per second, as JSON."""
    texts, _ = read(Path(csv), int(rows))
    model = LoadedModel(tf.saved_model.load(f"{output}/{precision}"), threshold=0.5)
    model.score(texts[:_WARM_UP_ROWS])
    started = time.perf_counter()
    model.score_many(texts, "score")
    print(json.dumps(len(texts) / (time.perf_counter() - started)))


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(*sys.argv[2:])
    else:
        score(*sys.argv[1:])
