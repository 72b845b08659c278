"""WordPiece tokenization, in bulk for training and inside the graph of the exported model."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text
from numpy.typing import NDArray

from ml.errors import ConfigError
from ml.progress import progress

CHUNK_TEXTS = 8192
_THREADS = 2  # more wait for Python's lock: half of the work is Python's own
_CONTROL = r"[\x{0}\x{FFFD}\p{Cf}]|[^\P{Cc}\t\n\r]"  # BERT's: tabs and line ends are spaces
_ACCENTS = r"\p{Mn}"
PAD, UNKNOWN, START, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"

_Framed = tuple[NDArray[np.int32], NDArray[np.int64]]


class ShardedIds:
    """Token ids, int32 [tokens], that lie in several arrays or files."""

    def __init__(self, shards: Sequence[NDArray[np.int32]]) -> None:
        self._shards = shards
        self._firsts = np.cumsum([0, *map(len, shards)])

    def __getitem__(self, places: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the ids at these places among all, int32 [places]."""
        shards = np.searchsorted(self._firsts, places, side="right") - 1
        ids = np.empty(len(places), np.int32)
        for number in np.unique(shards):
            here = shards == number
            ids[here] = self._shards[number][places[here] - self._firsts[number]]
        return ids


@dataclass(frozen=True)
class TokenizedTexts:
    """The token ids of many texts, concatenated.

    `token_ids`: int32 [tokens]; `row_splits`: int64 [texts + 1]. Text i is token_ids[row_splits[i]:row_splits[i+1]].
    """

    token_ids: NDArray[np.int32] | ShardedIds
    row_splits: NDArray[np.int64]

    @classmethod
    def of_shards(cls, shards: Sequence["TokenizedTexts"]) -> "TokenizedTexts":
        """Return the texts of all shards, in their order; their ids stay where they are."""
        if len(shards) == 1:
            return shards[0]
        firsts = np.cumsum([0, *(shard.row_splits[-1] for shard in shards)])
        splits = [shard.row_splits[1:] + first for shard, first in zip(shards, firsts[:-1], strict=True)]
        ids = ShardedIds([cast("NDArray[np.int32]", shard.token_ids) for shard in shards])
        return cls(ids, np.concatenate([[0], *splits]))

    def __len__(self) -> int:
        return len(self.row_splits) - 1

    def lengths(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of tokens in each of the texts `rows`, int64 [rows]."""
        return self.row_splits[rows + 1] - self.row_splits[rows]

    def padded(self, rows: NDArray[np.int64], width: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the ids of the texts `rows` and their mask, 0 on padding and else 1; both int32 [rows, width]."""
        mask = np.arange(width) < self.lengths(rows)[:, None]
        ids = np.zeros(mask.shape, np.int32)
        starts = self.row_splits[rows]
        ids[mask] = self.token_ids[(starts[:, None] + np.arange(width))[mask]]
        return ids, mask.astype(np.int32)


class Tokenizer(tf.Module):  # type: ignore[misc]
    """Maps strings to the token ids of [CLS], the text and [SEP], cut to `max_tokens`.

    It uses FastBertTokenizer of tensorflow_text: linear-time WordPiece (Song et al. 2021, arXiv:2012.15524). That one's
    own lower case also replaces characters such as …, ² and ß, which BERT's tokenizer keeps; so texts are lowered here.
    """

    def __init__(self, vocabulary: Sequence[str], *, lower_case: bool, max_tokens: int) -> None:
        super().__init__()
        _check_special_tokens(vocabulary)
        self._start, self._end = vocabulary.index(START), vocabulary.index(END)
        self._max_tokens = max_tokens
        self._wordpiece = tf_text.FastBertTokenizer(
            list(vocabulary), token_out_type=tf.int32, lower_case_nfd_strip_accents=False
        )
        self._lower_case = lower_case

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Map strings [texts] to token ids, int32 [texts, (tokens)]."""
        pieces = self._wordpiece.tokenize(self._normalised(texts))[:, : self._max_tokens - 2]
        column = tf.ones_like(pieces[:, :1].row_lengths())[:, None]
        start = tf.cast(column * self._start, tf.int32)
        end = tf.cast(column * self._end, tf.int32)
        return tf.concat([start, pieces, end], axis=1)

    def _normalised(self, texts: tf.Tensor) -> tf.Tensor:
        """Drop control characters; where case does not count, make letters lower case and drop their accents."""
        clean = tf.strings.regex_replace(texts, _CONTROL, "")
        if not self._lower_case:
            return clean
        apart = tf_text.normalize_utf8(tf.strings.lower(clean, encoding="utf-8"), "NFD")
        return tf.strings.regex_replace(apart, _ACCENTS, "")

    def tokenize(self, texts: Sequence[str]) -> TokenizedTexts:
        """Tokenize all texts, in their order, with a progress bar."""
        parts = (texts[first : first + CHUNK_TEXTS] for first in range(0, len(texts), CHUNK_TEXTS))
        ids = BytesIO()
        row_splits = self._write_ids(parts, len(texts), ids)
        return TokenizedTexts(token_ids=np.frombuffer(ids.getbuffer(), np.int32), row_splits=row_splits)

    def tokenize_to(self, file: Path, parts: Iterable[Sequence[str]], texts: int) -> TokenizedTexts:
        """Tokenize `texts` texts, some at a time, into a new file: the ids are read from there, not held in memory."""
        with file.open("xb") as ids:
            row_splits = self._write_ids(parts, texts, ids)
        return TokenizedTexts(token_ids=read_ids(file), row_splits=row_splits)

    def _write_ids(self, parts: Iterable[Sequence[str]], texts: int, ids: BinaryIO) -> NDArray[np.int64]:
        """Write the ids of all texts, and return the row splits."""
        lengths = [np.zeros(1, np.int64)]
        with progress("tokenize", texts, " texts") as bar:
            for some_ids, some_lengths in self._framed_parts(parts):
                ids.write(some_ids.data)
                lengths.append(some_lengths)
                bar.update(len(some_lengths))
        return np.concatenate(lengths).cumsum()

    def _framed_parts(self, parts: Iterable[Sequence[str]]) -> Iterator[_Framed]:
        """Tokenize some parts ahead, beside each other."""
        ahead: deque[Future[_Framed]] = deque()
        with ThreadPoolExecutor(_THREADS) as pool:
            for part in parts:
                ahead.append(pool.submit(self._framed_part, part))
                if len(ahead) > _THREADS:
                    yield ahead.popleft().result()
            for future in ahead:
                yield future.result()

    def _framed_part(self, part: Sequence[str]) -> _Framed:
        return self._framed(self._wordpiece.tokenize(tf.constant(self._normalised_in_bulk(list(part)), tf.string)))

    def _normalised_in_bulk(self, texts: Sequence[str]) -> list[bytes]:
        """Normalise as the graph does; in printable ASCII, which most texts are, it only makes letters lower case."""
        clean = [(text.lower() if self._lower_case else text).encode() for text in texts]
        others = [place for place, text in enumerate(texts) if not (text.isascii() and text.isprintable())]
        if others:
            normalised = self._normalised(tf.constant([texts[place] for place in others], tf.string)).numpy()
            for place, text in zip(others, normalised, strict=True):
                clean[place] = text
        return clean

    def _framed(self, pieces: tf.RaggedTensor) -> _Framed:
        """Cut each text's pieces, and put them between [CLS] and [SEP]; return all ids, and the texts' lengths."""
        values, found = pieces.values.numpy(), pieces.row_lengths().numpy()
        kept = np.minimum(found, self._max_tokens - 2)
        place = np.arange(len(values)) - np.repeat(found.cumsum() - found, found)
        last = (kept + 2).cumsum() - 1
        first = last - kept - 1
        ids = np.empty(last[-1] + 1, np.int32)
        is_piece = np.ones(len(ids), np.bool_)
        is_piece[first] = is_piece[last] = False
        ids[first], ids[last], ids[is_piece] = self._start, self._end, values[place < np.repeat(kept, found)]
        return ids, kept + 2


def read_ids(file: Path) -> NDArray[np.int32]:
    """Return the token ids of a file, int32 [tokens], which stay there."""
    return np.memmap(file, np.int32, mode="r")


def encoder_inputs(tokens: tf.RaggedTensor) -> dict[str, tf.Tensor]:
    """Build the three inputs of a BERT encoder, each int32 [texts, tokens of the longest text], with padding."""
    ids = tokens.to_tensor()
    return {
        "input_word_ids": ids,
        "input_mask": tf.ones_like(tokens).to_tensor(),
        "input_type_ids": tf.zeros_like(ids),
    }


def _check_special_tokens(vocabulary: Sequence[str]) -> None:
    missing = [token for token in (PAD, UNKNOWN, START, END) if token not in vocabulary]
    if missing:
        raise ConfigError(
            f"the vocabulary lacks {', '.join(missing)}",
            where="encoder vocabulary",
            fix="use the vocabulary file that the encoder was trained with",
        )
