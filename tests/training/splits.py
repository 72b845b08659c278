"""Stored splits to train on: half of the questions are insincere and contain the word "bad"."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from ml.records import Split, SplitName, Splits
from ml.registry.local import LocalRegistry
from ml.run import Run
from ml.store import Store

_PARTS: tuple[SplitName, ...] = ("train", "validation", "test")


def make_run(folder: Path) -> Run:
    """Make a run with an empty store and registry."""
    return Run(
        store=Store(folder / "store"),
        registry=LocalRegistry(folder / "registry"),
        reports=folder / "reports",
        run_id="test",
    )


def store_splits(store: Store, *, rows: int = 96, positives: int = 24) -> Splits:
    """Store three parts with this number of rows each."""
    train, validation, test = (_store_part(store, name, rows, positives) for name in _PARTS)
    return Splits(
        snapshot="0" * 64,
        report="1" * 64,
        strategy="hash",
        seed=42,
        labels=("sincere", "insincere"),
        parts=(train, validation, test),
        duplicate_texts=0,
        conflicting_texts=0,
        warnings=(),
    )


def _store_part(store: Store, name: SplitName, rows: int, positives: int) -> Split:
    random = np.random.default_rng(len(name))
    target = np.arange(rows) < positives
    texts = [_question(bool(label), random) for label in target]
    digest = hashlib.sha256(f"{name} {rows} {positives}".encode()).hexdigest()
    with store.staging() as staged:
        frame = pd.DataFrame(
            {"qid": [f"{row:020x}" for row in range(rows)], "question_text": texts, "target": target.astype("int8")}
        )
        frame.to_parquet(staged / "rows.parquet")
        store.commit(staged, "splits", digest)
    return Split(name=name, digest=digest, rows=rows, positives=positives)


def _question(insincere: bool, random: np.random.Generator) -> str:
    words = random.choice(["why", "how", "do", "cats", "dogs", "people", "sleep"], random.integers(2, 9))
    return " ".join([*words, "bad" if insincere else "good", "?"])
