"""When two questions count as the same text."""

import re
import unicodedata

_ALPHANUMERIC_RUN = re.compile(r"[^\W_]+")


def normalise(text: str) -> str:
    """The text without case, punctuation, spacing and compatibility forms (NFKC, Unicode Standard Annex 15).

    A text without a letter or digit stands for itself, stripped.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_ALPHANUMERIC_RUN.findall(folded)) or text.strip()
