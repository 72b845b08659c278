"""Normalise texts: two questions count as the same text if their normalised texts are equal."""

import re
import unicodedata

_ALPHANUMERIC_RUN = re.compile(r"[^\W_]+")


def normalise(text: str) -> str:
    """Return the text without case, punctuation, extra spaces and compatibility forms (NFKC, Unicode Annex 15).

    A text without letters and digits is only stripped.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_ALPHANUMERIC_RUN.findall(folded)) or text.strip()
