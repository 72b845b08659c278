"""Times as a person reads them."""

from datetime import datetime


def day(time: str) -> str:
    """Return a time of a record, which is UTC."""
    try:
        return f"{datetime.fromisoformat(time):%d %b %Y, %H:%M}"
    except ValueError:
        return time


def short_day(time: str) -> str:
    """Return the day alone, as an axis has it."""
    try:
        return f"{datetime.fromisoformat(time):%d %b}"
    except ValueError:
        return time[:10]
