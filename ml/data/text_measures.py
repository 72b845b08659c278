"""Measures of each text for the expectations and the plots, computed for all texts at once."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

TEXT = "question_text"
CHARACTERS, DAMAGED, WORDS = f"{TEXT} (characters)", f"{TEXT} (damaged)", f"{TEXT} (words)"

_BATCH_TEXTS = 1 << 16
_IS_SPACE = np.isin(np.arange(256), list(b" \t\n\f\r"))
# The continuation bytes of UTF-8, 80 to BF, as Latin-1 or Windows-1252 decodes them (RE2 syntax).
_CONTINUATION = (
    r"[\x{80}-\x{BF}\x{152}\x{153}\x{160}\x{161}\x{178}\x{17D}\x{17E}\x{192}"
    r"\x{2C6}\x{2DC}\x{2013}-\x{203A}\x{20AC}\x{2122}]"
)
# Accented letters (C3, C2), quotes and dashes (E2 80), and the replacement character, itself damaged or not.
_DAMAGED = "|".join(
    (
        rf"[\x{{C3}}\x{{C2}}]{_CONTINUATION}",
        rf"\x{{E2}}[\x{{80}}\x{{20AC}}]{_CONTINUATION}",
        r"\x{EF}\x{BF}\x{BD}",
        r"\x{FFFD}",
    )
)


def characters(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Count the characters without surrounding white space; int, shape [rows], null where the text is null."""
    return pc.utf8_length(pc.utf8_trim_whitespace(texts))


def words(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Count the words, separated by ASCII white space; int, shape [rows], null where the text is null."""
    parts = [chunk.slice(at, _BATCH_TEXTS) for chunk in texts.chunks for at in range(0, len(chunk), _BATCH_TEXTS)]
    return pa.chunked_array([_words(part) for part in parts], pa.int32())


def _words(texts: pa.StringArray) -> pa.Array:
    """Count the bytes that are no space where a text begins, or where one follows a space."""
    content, ends = _bytes_of(texts.cast(pa.string()))
    inside = ~_IS_SPACE[content]
    begins = inside.copy()
    begins[1:] &= ~inside[:-1]
    first = ends[:-1][ends[:-1] < ends[1:]]
    begins[first] = inside[first]
    counts = np.concatenate([np.zeros(1, np.int32), begins.cumsum(dtype=np.int32)])[ends]
    return pa.array(np.diff(counts), mask=np.asarray(texts.is_null()))


def damaged(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return 1 where a text shows a wrong decoding, else 0; int8, shape [rows], null where the text is null."""
    suspect = pc.if_else(pc.string_is_ascii(texts), "", texts)
    return pc.match_substring_regex(suspect, _DAMAGED).cast(pa.int8())


def _bytes_of(texts: pa.StringArray) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the UTF-8 bytes of all texts, end to end, and where each begins and the last ends, [texts + 1]."""
    _, places, content = texts.buffers()
    if not len(texts) or content is None:
        return np.empty(0, np.uint8), np.zeros(len(texts) + 1, np.int64)
    ends = np.frombuffer(places, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    return np.frombuffer(content, np.uint8)[ends[0] : ends[-1]], ends - ends[0]
