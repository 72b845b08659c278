"""Slices: groups of questions that are judged separately. A small expression over the text defines each one.

An expression is a predicate and its argument, with an optional `not ` before it:
    words:0-8            the number of words; `words:33-` has no upper limit
    first_word:why       the first word, in upper or lower case
    contains:REGEX       a match anywhere in the text, in upper or lower case
"""

import re
from collections.abc import Callable

from ml.errors import ConfigError

Predicate = Callable[[str], bool]

BUILT_IN_SLICES = {
    "up to 8 words": "words:0-8",
    "9 to 16 words": "words:9-16",
    "17 to 32 words": "words:17-32",
    "more than 32 words": "words:33-",
    "first word why": "first_word:why",
    "first word what": "first_word:what",
    "first word how": "first_word:how",
    "first word is": "first_word:is",
    "contains a link": r"contains:https?://|www\.",
    "contains a number": r"contains:\d",
}
MAX_NAME = 24  # the line of a check with this name then fits into 100 columns


def parse_slice(name: str, expression: str) -> Predicate:
    """Return the predicate that says whether a text is in the slice; raises ConfigError for a wrong expression."""
    kind, separator, argument = expression.removeprefix("not ").partition(":")
    parse = _PREDICATES.get(kind)
    if parse is None or not separator or len(name) > MAX_NAME:
        raise _bad(name, expression, f"write {', '.join(f'{known}:…' for known in _PREDICATES)}")
    try:
        predicate = parse(argument)
    except (ValueError, re.error) as error:
        raise _bad(name, expression, f"correct what follows {kind}: ({error})") from None
    return (lambda text: not predicate(text)) if expression.startswith("not ") else predicate


def _words(argument: str) -> Predicate:
    low, separator, high = argument.partition("-")
    if not separator:
        raise ValueError("a range such as 0-8 or 33-")
    lowest, highest = int(low), int(high) if high else float("inf")
    return lambda text: lowest <= len(text.split()) <= highest


def _first_word(argument: str) -> Predicate:
    pattern = re.compile(rf"\W*{re.escape(argument)}\b", re.IGNORECASE)
    return lambda text: pattern.match(text) is not None


def _contains(argument: str) -> Predicate:
    pattern = re.compile(argument, re.IGNORECASE)
    return lambda text: pattern.search(text) is not None


_PREDICATES: dict[str, Callable[[str], Predicate]] = {
    "words": _words,
    "first_word": _first_word,
    "contains": _contains,
}


def _bad(name: str, expression: str, fix: str) -> ConfigError:
    return ConfigError(
        f"{name[:MAX_NAME]!r} = {expression!r} is no slice with a name of at most {MAX_NAME} characters",
        where="config [policy.slices]",
        fix=fix,
    )
