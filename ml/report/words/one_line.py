"""A text of several lines as one, for notes, notices and headlines."""

import re


def one_line(text: str) -> str:
    """Return the text in one line; the points of a list are parted by semicolons."""
    head, *points = re.split(r"\n *- ", text)
    return " ".join(f"{head} {'; '.join(points)}".split())
