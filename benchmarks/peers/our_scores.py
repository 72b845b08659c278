"""Score by the exported model, as `predict` does.

usage: python -m benchmarks.peers.our_scores export OUTPUT-FOLDER
       python -m benchmarks.peers.our_scores float32|bfloat16 OUTPUT-FOLDER ROWS.csv ROWS
"""

import json
import sys
import time
from pathlib import Path

from benchmarks.peers.questions import read
from benchmarks.scoring import export_forms, load_form

_WARM_UP_ROWS = 256


def score(precision: str, output: str, csv: str, rows: str) -> None:
    """Print the rows per second, as JSON."""
    texts, _ = read(Path(csv), int(rows))
    model = load_form(Path(output) / precision)
    model.score(texts[:_WARM_UP_ROWS])
    started = time.perf_counter()
    model.score_many(texts, "score")
    print(json.dumps(len(texts) / (time.perf_counter() - started)))


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export_forms(Path(sys.argv[2]))
    else:
        score(*sys.argv[1:])
