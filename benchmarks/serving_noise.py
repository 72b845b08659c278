"""Measure by which factor the latencies of two equal models differ on this machine, with two statistics.

usage: python -m benchmarks.serving_noise MODEL MODEL QUESTIONS.csv      (two models of the store, trained alike)
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from ml.progress import progress
from ml.serve.costs import BATCH_ROUNDS, BATCH_TEXTS, QUESTION_ROUNDS, take_turns
from ml.serve.server_process import serve


def main() -> None:
    """Measure blocks of questions and batches, and print the largest ratio over all windows of a probe's length."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs=2, type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--blocks", type=int, default=27, help="of 40 questions and a batch, at least 5; default: 27")
    arguments = parser.parse_args()
    texts = pd.read_csv(arguments.questions, nrows=BATCH_TEXTS)["question_text"].tolist()
    of_question, of_batch = measure(arguments.models, texts, arguments.blocks)
    print(f"medians: {np.median(of_question) * 1e3:.0f} ms a question, {np.median(of_batch):.1f} s a batch of 256")
    for name, seconds, rounds in (("question", of_question, QUESTION_ROUNDS), ("batch", of_batch, BATCH_ROUNDS)):
        windows = [seconds[:, first : first + rounds] for first in range(seconds.shape[1] - rounds + 1)]
        of_medians = max(apart(np.median(window[0]) / np.median(window[1])) for window in windows)
        of_ratios = max(apart(np.median(window[0] / window[1])) for window in windows)
        print(f"{name}, {len(windows)} windows of {rounds} rounds: largest ratio of medians {of_medians:.2f}", end="")
        print(f", largest median of ratios {of_ratios:.2f}")


def measure(models: list[Path], texts: list[str], blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Time each question and each batch on both models, in seconds, two arrays [2, rounds]."""
    questions, batches = [], []
    with ExitStack() as stack, progress("time equal models", blocks, " blocks") as bar:
        servers = [stack.enter_context(serve(model)) for model in models]
        take_turns(servers, [texts, texts[:1]])
        for _ in range(blocks):
            questions.append(take_turns(servers, [[text] for text in texts[:40]]))
            batches.append(take_turns(servers, [texts]))
            bar.update()
    return np.concatenate(questions, axis=1), np.concatenate(batches, axis=1)


def apart(ratio: float) -> float:
    """Return a ratio as the larger value divided by the smaller."""
    return max(ratio, 1 / ratio)


if __name__ == "__main__":
    main()
