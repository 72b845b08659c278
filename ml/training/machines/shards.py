"""The token ids of a part lie in shards beside the checkpoints: each machine makes some of them, and reads all.

checkpoints/<key>/<part>-<number>/ids             int32 [tokens], as NumPy writes bytes
checkpoints/<key>/<part>-<number>/row_splits.npy  int64 [texts + 1]

A training that goes on after it was killed finds them made.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ml.data.rows import read_part_in_batches
from ml.encoder.tokenizer import CHUNK_TEXTS, TokenizedTexts, Tokenizer, read_ids
from ml.records import Split
from ml.store import Store
from ml.training.epochs import LabelledTexts
from ml.training.machines.meeting import wait_for
from ml.training.machines.workers import Alone, Workers

CHUNKS = 128  # of a shard: a million texts


@dataclass(frozen=True, kw_only=True)
class Shards:
    """Tokenizes the parts of the training with this key, together with the other machines."""

    store: Store
    key: str
    tokenizer: Tokenizer
    workers: Workers | Alone
    wait_minutes: float

    def read(self, part: Split) -> LabelledTexts:
        """Make this machine's shards of a part, wait for those of others, and return all, with the labels.

        Memory grows with the rows by their labels and lengths only. Raises OutOfResources if no shard comes for
        `wait_minutes`.
        """
        labels: list[NDArray[np.int8]] = []
        names: list[str] = []
        batches = enumerate(read_part_in_batches(self.store, part, CHUNK_TEXTS))
        for number, some in groupby(batches, lambda each: each[0] // CHUNKS):
            names.append(f"{self.key}/{part.name}-{number}")
            texts = _texts(some, labels)
            if number % self.workers.machines == self.workers.number and not self._is_made(names[-1]):
                self._make(names[-1], texts, min(CHUNKS * CHUNK_TEXTS, part.rows - number * CHUNKS * CHUNK_TEXTS))
            deque(texts, maxlen=0)
        shards = [self._open(name) for name in names]
        return LabelledTexts(TokenizedTexts.of_shards(shards), np.concatenate(labels).astype(np.float32))

    def _is_made(self, name: str) -> bool:
        return self.store.contains("checkpoints", name)

    def _make(self, name: str, texts: Iterator[list[str]], number: int) -> None:
        with self.store.staging() as staged:
            made = self.tokenizer.tokenize_to(staged / "ids", texts, number)
            np.save(staged / "row_splits.npy", made.row_splits)
            self.store.commit(staged, "checkpoints", name)

    def _open(self, name: str) -> TokenizedTexts:
        wait_for(lambda: self._is_made(name), minutes=self.wait_minutes, whom="the machine that tokenizes other rows")
        folder = self.store.open("checkpoints", name)
        return TokenizedTexts(read_ids(folder / "ids"), np.load(folder / "row_splits.npy", allow_pickle=False))


def _texts(
    batches: Iterator[tuple[int, tuple[list[str], NDArray[np.int8]]]], labels: list[NDArray[np.int8]]
) -> Iterator[list[str]]:
    """Yield the texts of each batch, and keep its labels."""
    for _, (texts, targets) in batches:
        labels.append(targets)
        yield texts
