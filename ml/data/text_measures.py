"""Measures of each text for the expectations and the plots, computed for all texts at once."""

import pyarrow as pa
import pyarrow.compute as pc

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
    """Count the words, separated by white space; int, shape [rows], null where the text is null."""
    return pc.count_substring_regex(texts, r"\S+")


def damaged(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return 1 where a text shows a wrong decoding, else 0; int8, shape [rows], null where the text is null."""
    return pc.match_substring_regex(texts, _DAMAGED).cast(pa.int8())
