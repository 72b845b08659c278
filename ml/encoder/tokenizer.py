"""WordPiece tokenization, in bulk for training and inside the graph of the exported model."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text
from numpy.typing import NDArray

from ml.errors import ConfigError
from ml.progress import progress

CHUNK_TEXTS = 8192
_CONTROL = r"[\x{0}\x{FFFD}\p{Cf}]|[^\P{Cc}\t\n\r]"  # BERT's: tabs and line ends are spaces
_ACCENTS = r"\p{Mn}"
PAD, UNKNOWN, START, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"


@dataclass(frozen=True)
class TokenizedTexts:
    """The token ids of many texts, concatenated.

    `token_ids`: int32 [tokens]; `row_splits`: int64 [texts + 1]. Text i is token_ids[row_splits[i]:row_splits[i+1]].
    """

    token_ids: NDArray[np.int32]
    row_splits: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.row_splits) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens in each text, int64 [texts]."""
        return np.diff(self.row_splits)

    def padded(self, rows: NDArray[np.int64], width: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the ids of the texts `rows` and their mask, 0 on padding and else 1; both int32 [rows, width]."""
        lengths = self.lengths[rows]
        mask = np.arange(width) < lengths[:, None]
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
        """Tokenize all texts, in their order, with a progress bar; a column of a table need not become a list."""
        ids, lengths = array("i"), [np.zeros(1, np.int64)]  # an array grows without a second copy of itself
        with progress("tokenize", len(texts), " texts") as bar:
            for first in range(0, len(texts), CHUNK_TEXTS):
                part = list(texts[first : first + CHUNK_TEXTS])
                pieces = self._wordpiece.tokenize(tf.constant(self._normalised_in_bulk(part), tf.string))
                some_ids, some_lengths = self._framed(pieces)
                ids.frombytes(some_ids.tobytes())
                lengths.append(some_lengths)
                bar.update(len(part))
        return TokenizedTexts(token_ids=np.frombuffer(ids, np.int32), row_splits=np.concatenate(lengths).cumsum())

    def _normalised_in_bulk(self, texts: Sequence[str]) -> list[bytes]:
        """Normalise as the graph does; in printable ASCII, which most texts are, it only makes letters lower case."""
        clean = [(text.lower() if self._lower_case else text).encode() for text in texts]
        others = [place for place, text in enumerate(texts) if not (text.isascii() and text.isprintable())]
        if others:
            normalised = self._normalised(tf.constant([texts[place] for place in others], tf.string)).numpy()
            for place, text in zip(others, normalised, strict=True):
                clean[place] = text
        return clean

    def _framed(self, pieces: tf.RaggedTensor) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
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
