"""Freeze windows: the times in which a promotion waits for a person. A short text defines each one.

12-20/01-02                            days of each year, both included
2026-12-20/2027-01-02                  days, both included; one day alone needs no slash
2026-12-31T18:00/2027-01-01T08:00      minutes, both included
* 18-23 * * fri                        minutes that match all five fields of cron
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from ml.errors import ConfigError

Window = Callable[[datetime], bool]

_YEARLY, _DAY, _MINUTE = "%m-%d", "%Y-%m-%d", "%Y-%m-%dT%H:%M"
_FORMS = {r"\d\d-\d\d": _YEARLY, r"\d{4}-\d\d-\d\d": _DAY, r"\d{4}-\d\d-\d\dT\d\d:\d\d": _MINUTE}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_CRON = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, _MONTHS), (0, 7, _WEEKDAYS))
_LEAP_YEAR = 2024
_LONGEST = 60


def parse_window(text: str) -> Window:
    """Return the predicate that says whether a local time is in the window; raises ConfigError for a wrong text."""
    try:
        return _cron(text.split()) if len(text.split()) == len(_CRON) else _span(*_ends(text))
    except ValueError:
        raise ConfigError(
            f"{text[:_LONGEST]!r} is no freeze window",
            where="config [policy] freeze",
            fix="write days, 12-20/01-02 or 2026-12-20/2027-01-02, times, 2026-12-31T18:00/2027-01-01T08:00,"
            " or five fields of cron, * 18-23 * * fri",
        ) from None


def read_zone(name: str, where: str) -> ZoneInfo:
    """Return the time zone of that name; raises ConfigError if there is none."""
    try:
        return ZoneInfo(name)
    except (OSError, LookupError, ValueError):
        raise ConfigError(
            f"{name[:_LONGEST]!r} is no time zone", where=where, fix="write one of the IANA's, such as Europe/Zurich"
        ) from None


def _ends(text: str) -> tuple[str, str, str]:
    """Return the first moment, the last one, and their form; raises ValueError for other text."""
    first, slash, last = text.strip().partition("/")
    last = last if slash else first
    for pattern, form in _FORMS.items():
        if re.fullmatch(pattern, first) and re.fullmatch(pattern, last):
            _check(first, form)
            _check(last, form)
            if form != _YEARLY and first > last:
                break
            return first, last, form
    raise ValueError("no days or times, or the end before the beginning")


def _check(moment: str, form: str) -> None:
    """Raise ValueError for a day that no calendar has."""
    if form == _YEARLY:
        moment, form = f"{_LEAP_YEAR}-{moment}", _DAY
    datetime.strptime(moment, form)


def _span(first: str, last: str, form: str) -> Window:
    """From the first moment to the last one; a yearly span may go over the end of the year."""

    def contains(local: datetime) -> bool:
        now = local.strftime(form)
        return first <= now <= last if first <= last else now >= first or now <= last

    return contains


def _cron(fields: Sequence[str]) -> Window:
    minutes, hours, days, months, weekdays = (
        _values(field, *bounds) for field, bounds in zip(fields, _CRON, strict=True)
    )

    def contains(local: datetime) -> bool:
        weekday = local.isoweekday()
        return (
            local.minute in minutes
            and local.hour in hours
            and local.day in days
            and local.month in months
            and not weekdays.isdisjoint({weekday, weekday % 7})
        )

    return contains


def _values(field: str, low: int, high: int, names: Sequence[str]) -> frozenset[int]:
    """Return the numbers that a field of cron names; raises ValueError for other text."""
    return frozenset(value for part in field.split(",") for value in _range(part, low, high, names))


def _range(part: str, low: int, high: int, names: Sequence[str]) -> range:
    span, slash, step = part.partition("/")
    if span == "*":
        first, last = low, high
    else:
        begin, dash, end = span.partition("-")
        first = _number(begin, low, names)
        last = _number(end, low, names) if dash else high if slash else first
    if not low <= first <= last <= high:
        raise ValueError("out of bounds")
    return range(first, last + 1, _step(step) if slash else 1)


def _number(text: str, low: int, names: Sequence[str]) -> int:
    return names.index(text.lower()) + low if text.lower() in names else _digits(text)


def _step(text: str) -> int:
    return _digits(text) or _digits("none")


def _digits(text: str) -> int:
    if not re.fullmatch("[0-9]{1,2}", text):
        raise ValueError("not a number")
    return int(text)
