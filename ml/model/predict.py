"""Score texts with an exported model: this needs TensorFlow and tensorflow_text, but no code that trained the model."""

import csv
import errno
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401, registers the operations of the tokenizer
from numpy.typing import NDArray

from ml.errors import ConfigError, DataError, LineageError, raise_if_passing
from ml.model.fused import Array, split_attention
from ml.progress import progress
from ml.records import ModelDescription, from_json
from ml.source.csv_rows import ENCODING, Records
from ml.store.files import names_descriptor, open_text, tree_digest, writing_whole
from ml.store.plain_path import plain_path

BATCH_TOKENS = 1536  # with padding
_CHARACTERS_PER_TOKEN = 4
_SPECIAL_TOKENS = 2
_LONGEST_TOKENS = 512
WINDOW_ROWS = 1 << 14  # rows that are sorted by length together, and kept in memory
TEXT_COLUMN = "question_text"
ADDED_COLUMNS = ("probability", "label")
# Errors of the paths that the user gave; a full disk, a broken disk and a closed pipe are others.
_WRONG_PLACE = {
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENXIO,
    errno.EBADF,
    errno.EROFS,
}

# Is told the texts of each chunk of rows, and their probabilities, float32 [texts].
Observer = Callable[[Sequence[str], NDArray[np.float32]], None]

logger = logging.getLogger(__name__)


def unobserved(texts: Sequence[str], probabilities: NDArray[np.float32]) -> None:
    """Ignore what was scored."""


def uncounted(rows: int) -> None:
    """Ignore how many rows were scored."""


class LoadedModel:
    """An exported classifier with its decision threshold."""

    def __init__(self, saved_model: Any, threshold: float) -> None:
        tf.config.experimental.enable_tensor_float_32_execution(False)  # it would move scores by some 1e-3
        self._saved_model = saved_model
        self.signature = saved_model.signatures["serving_default"]
        self.threshold = threshold

    @property
    def weights(self) -> list[tuple[str, Array]]:
        """Name and value of each of the trained classifier's weights, layer by layer."""
        return list(split_attention(self._saved_model.weights))

    def score(
        self, texts: Sequence[str], scored: Callable[[int], object] = uncounted, each: Callable[..., Any] = map
    ) -> NDArray[np.float32]:
        """Return probabilities, float32 [texts], in the order of the texts; `scored` is told the size of each batch.

        `each` maps batches to probabilities, in their order.
        """
        scores = np.empty(len(texts), np.float32)
        batches = list(batches_by_tokens(texts))

        def score_batch(rows: NDArray[np.int64]) -> Any:
            return self.signature(texts=tf.constant([texts[row] for row in rows], tf.string))["probability"].numpy()

        for rows, probabilities in zip(batches, each(score_batch, batches), strict=True):
            scores[rows] = probabilities
            scored(len(rows))
        return scores

    def score_many(self, texts: Sequence[str], what: str) -> NDArray[np.float32]:
        """Return probabilities, float32 [texts], in the order of the texts; `what` is the label of the progress bar."""
        scores = np.empty(len(texts), np.float32)
        with progress(what, len(texts), " rows") as bar, ThreadPool(_batches_at_once()) as pool:
            for first in range(0, len(texts), WINDOW_ROWS):
                part = texts[first : first + WINDOW_ROWS]
                scores[first : first + len(part)] = self.score(part, bar.update, pool.imap)
        return scores


def _batches_at_once() -> int:
    """How many batches must be scored at once to use all cores: one, unless an operation may use a part of them."""
    cores = len(os.sched_getaffinity(0))
    return max(1, cores // (tf.config.threading.get_intra_op_parallelism_threads() or cores))


def batches_by_tokens(texts: Sequence[str]) -> Iterator[NDArray[np.int64]]:
    """Yield the indices of each batch: texts of similar length, as many as have about `BATCH_TOKENS` with padding.

    Tokens are estimated from characters: the model takes strings, and counts by itself.
    """
    tokens = np.array([len(text) for text in texts], np.int64) // _CHARACTERS_PER_TOKEN + _SPECIAL_TOKENS
    order = np.argsort(tokens, kind="stable")
    widths = np.minimum(tokens[order], _LONGEST_TOKENS)
    first = 0
    while first < len(order):
        # In this order the last text is the widest; a batch has one text at least.
        ahead = widths[first : first + BATCH_TOKENS]
        padded = ahead * np.arange(1, len(ahead) + 1)
        rows = max(1, int(np.searchsorted(padded, BATCH_TOKENS, side="right")))
        yield order[first : first + rows]
        first += rows


def load_model(folder: Path) -> LoadedModel:
    """Load the model in a folder of the store or the registry; raises LineageError if a file is missing or damaged."""
    try:
        description = from_json((folder / "model.json").read_text(encoding="utf-8"), ModelDescription)
        saved_model = tf.saved_model.load(plain_path(folder / "saved_model"))
    except (OSError, ValueError) as error:
        raise_if_passing(error)
        raise LineageError(
            f"the model cannot be loaded ({type(error).__name__})",
            where=f"model {folder.name[:12]}, saved_model and model.json",
            fix="train again, or fetch the version again",
        ) from None
    return LoadedModel(saved_model, description.threshold)


def weights_digest(folder: Path) -> str:
    """Sha256, in hex, over the files of a model's SavedModel: equal weights, whatever the threshold and the origin."""
    return tree_digest(folder / "saved_model")


def predict_csv(model: LoadedModel, source: Path, output: Path) -> None:
    """Copy a CSV and add the columns `probability` and `label`; rows keep their order, memory stays constant.

    Each row gives one row. With one column, a blank line is a row with an empty text; with more, it stays blank. Both
    paths may be pipes or devices; a file is written whole or not at all. Raises ConfigError if a path cannot be opened,
    DataError if the input is not a CSV with one column `question_text`, BrokenPipeError if nobody reads the output.
    """
    _check_places(source, output)
    try:
        with open_text(source, "r", encoding=ENCODING) as rows, writing_whole(output) as to:
            score_csv(model, rows, to, source.name)
    except OSError as error:
        if error.errno not in _WRONG_PLACE:
            raise
        raise ConfigError(
            f"{error.strerror}", where=f"--input {source.name} or --output {output.name}", fix="check both places"
        ) from None


def _check_places(source: Path, output: Path) -> None:
    if source.is_dir() or not (source.exists() or names_descriptor(source)):
        what = "this is a folder" if source.is_dir() else "there is no such file"
        raise ConfigError(what, where=f"--input {source.name}", fix="name a CSV file")
    if not (output.exists() or output.resolve().parent.is_dir() or names_descriptor(output)):
        raise ConfigError("there is no such folder", where=f"--output {output.name}", fix="make it first")


def score_csv(model: LoadedModel, source: TextIO, to: TextIO, name: str, observe: Observer = unobserved) -> None:
    """Score the CSV in an open file, whose name errors bear, and call `observe` with each chunk of its rows."""
    try:
        _score_rows(model, Records(source, name), to, name, observe)
    except UnicodeDecodeError:
        raise DataError("the file is not UTF-8", where=name, fix="convert it to UTF-8") from None


def _score_rows(model: LoadedModel, records: Records, to: TextIO, name: str, observe: Observer) -> None:
    header = records.header()
    column = text_column(header, name)
    writer = csv.writer(_Lines(to))
    writer.writerow([*header, *ADDED_COLUMNS])
    rows = (row or [""] for row in records) if len(header) == 1 else records
    with progress("predict", None, " rows") as bar:
        while chunk := list(islice(rows, WINDOW_ROWS)):
            _check_widths(chunk, len(header), first=int(bar.n) + 1, name=name)
            texts = [row[column] for row in chunk if row]
            scores = model.score(texts, bar.update)
            observe(texts, scores)
            probabilities = iter(scores)
            writer.writerows(_scored(row, next(probabilities), model.threshold) if row else [] for row in chunk)
            bar.update(len(chunk) - len(texts))


def _scored(row: list[str], probability: np.float32, threshold: float) -> list[object]:
    return [*row, f"{probability:.9g}", int(probability >= threshold)]


class _Lines:
    """Turns the line ends of csv.writer into `\\n`; with `\\n` as its own, csv.writer would not quote a `\\r`."""

    def __init__(self, to: TextIO) -> None:
        self._to = to

    def write(self, line: str) -> None:
        self._to.write(line.removesuffix("\r\n") + "\n")


def text_column(header: list[str], name: str) -> int:
    """Return the place of the column of the texts; raises DataError if there is no one, or no room for the scores."""
    if header.count(TEXT_COLUMN) != 1:
        raise DataError(f"there is no one column {TEXT_COLUMN}", where=name, fix="name the column of the texts so")
    taken = [column for column in ADDED_COLUMNS if column in header]
    if taken:
        raise DataError(f"there is a column {taken[0]} already", where=name, fix="rename or remove it")
    return header.index(TEXT_COLUMN)


def _check_widths(chunk: list[list[str]], columns: int, *, first: int, name: str) -> None:
    for number, row in enumerate(chunk, first):
        if row and len(row) != columns:
            raise DataError(
                f"row {number} has {len(row)} fields, the header {columns}",
                where=name,
                fix="mend the row; a field with commas or line breaks needs quotes",
            )
