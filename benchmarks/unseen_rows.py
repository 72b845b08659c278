"""Measure the champion on rows that it has never seen: the rows of another CSV that its hash split puts into the test.

usage: python -m benchmarks.unseen_rows ROWS.csv CONFIG      (CONFIG as in the champion's run)
"""

import os
import sys
from pathlib import Path

import pandas as pd

from ml.config.load import load_config
from ml.data.normalise import hash_texts, normalise
from ml.data.split import divide
from ml.metrics import measure
from ml.model.predict import load_model
from ml.records import NoChampion
from ml.registry import CHAMPION_ALIAS
from ml.registry.local import LocalRegistry


def main(rows_csv: str, config: str) -> None:
    """Print the figures, one per line."""
    registry = LocalRegistry(Path(os.environ.get("SINCERE_HOME", "var")) / "registry")
    champion = registry.resolve(CHAMPION_ALIAS)
    if isinstance(champion, NoChampion):
        sys.exit("there is no champion: run `make retrain` first")
    rows = pd.read_csv(rows_csv, keep_default_na=False)
    texts = [normalise(text) for text in rows["question_text"]]
    text_ids, _ = pd.factorize(pd.Series(texts))
    settings = load_config(config).split
    hashes = hash_texts([text.encode() for text in texts], settings.salt)
    unseen = rows.iloc[divide(settings, hashes, text_ids, rows["target"].to_numpy())["test"]]
    model = load_model(registry.fetch(champion.version))
    target = unseen["target"].to_numpy()
    figures = measure(target, model.score(unseen["question_text"].tolist()), model.threshold)
    print(f"{len(unseen)} rows, {target.sum()} positive, threshold {model.threshold:.4f}")
    for name, value in figures.items():
        print(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}")


if __name__ == "__main__":
    main(*sys.argv[1:])
