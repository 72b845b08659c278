"""The questions that every arm trains on and scores, read without this project's packages."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

TRAINING_BATCH, SCORING_BATCH, MAX_TOKENS = 32, 128, 128


def read(csv: Path, rows: int) -> tuple[list[str], list[int]]:
    """Return the first questions and their labels."""
    table = pd.read_csv(csv, keep_default_na=False, nrows=rows)
    return table["question_text"].tolist(), table["target"].tolist()


def by_length(texts: Sequence[str], rows: int) -> list[list[int]]:
    """Return batches of the texts' numbers, the short texts first."""
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    return [order[start : start + rows] for start in range(0, len(order), rows)]
