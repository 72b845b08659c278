"""Machines share the work of tokenizing, and each reads all rows, in their order."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ml.encoder.tokenizer import Tokenizer
from ml.errors import OutOfResources
from ml.training.machines import shards as module
from ml.training.machines.shards import Shards
from ml.training.machines.workers import Alone, Workers
from tests.tiny import SPECIAL_TOKENS, WORDS
from tests.training.splits import make_run, store_splits

ROWS = np.arange(96)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNKS", 2)
    monkeypatch.setattr(module, "CHUNK_TEXTS", 10)


def shards(folder: Path, workers: Workers | Alone, *, minutes: float = 1) -> Shards:
    tokenizer = Tokenizer([*SPECIAL_TOKENS, *WORDS], lower_case=True, max_tokens=16)
    store = make_run(folder).store
    return Shards(store=store, key="key", tokenizer=tokenizer, workers=workers, wait_minutes=minutes)


def two(number: int) -> Workers:
    return Workers(cluster={"worker": ("first:1", "second:1")}, role="worker", index=number)


def test_two_machines_make_each_its_shards_and_read_what_one_reads(tmp_path: Path) -> None:
    part = store_splits(make_run(tmp_path / "two").store).part("train")
    store_splits(make_run(tmp_path / "one").store)
    alone = shards(tmp_path / "one", Alone()).read(part)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda number: shards(tmp_path / "two", two(number)).read(part), range(2)))
    made = sorted(path.name for path in (tmp_path / "two" / "store" / "checkpoints" / "key").iterdir())
    assert made == [f"train-{number}" for number in range(5)]
    for each in both:
        assert each.labels.tolist() == alone.labels.tolist()
        assert each.texts.row_splits.tolist() == alone.texts.row_splits.tolist()
        assert each.texts.padded(ROWS, 16)[0].tolist() == alone.texts.padded(ROWS, 16)[0].tolist()


def test_a_training_that_goes_on_does_not_tokenize_again(tmp_path: Path) -> None:
    part = store_splits(make_run(tmp_path).store).part("train")
    before = shards(tmp_path, Alone()).read(part)
    files = {path: path.stat().st_ino for path in (tmp_path / "store" / "checkpoints").rglob("ids")}
    again = shards(tmp_path, Alone()).read(part)
    assert {path: path.stat().st_ino for path in files} == files
    assert again.labels.tolist() == before.labels.tolist()


def test_a_shard_that_nobody_makes_is_not_waited_for_without_end(tmp_path: Path) -> None:
    part = store_splits(make_run(tmp_path).store).part("train")
    with pytest.raises(OutOfResources, match="the machine that tokenizes other rows did not come in time"):
        shards(tmp_path, two(1), minutes=0.001).read(part)
