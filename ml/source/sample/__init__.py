"""Generate a CSV in the format of the Quora data, with invented questions from a grammar of our own.

A question is a frame that is filled with a group, a predicate and everyday things. A question is insincere when an
accusing frame has a blaming predicate. Frames and predicates of these kinds are also common in sincere questions, but
not together; some sincere questions contain both, but blame another group. Both classes contain noise, so that a model
can learn the task, but not perfectly.
"""

import csv
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, TextIO

import numpy as np

from ml.progress import progress
from ml.store.files import writing_whole

POSITIVE_RATE = 0.062
_PHRASES = Path(__file__).with_name("phrases.toml")
_CHUNK_ROWS = 50_000
_QID_BYTES = 10
_SHAPE_CHOICES, _SLOT_CHOICES = 5, 9
_LEAD_SHARE, _TAIL_SHARE, _MODIFIER_SHARE = 0.08, 0.1, 0.4
_CONTRAST_SHARE = 0.4

Kind = Literal["open_plain", "open_blaming", "accusing_plain", "accusing_blaming"]
_KINDS: tuple[Kind, ...] = ("open_plain", "open_blaming", "accusing_plain", "accusing_blaming")
_SINCERE_SHARES = (0.78, 0.12, 0.092, 0.008)
_INSINCERE_SHARES = (0.09, 0.03, 0.04, 0.84)


# Predicates of a second clause: both kinds of question then have the same words, and only their order tells the blamed.
_CONTRASTS: Mapping[Kind, str] = {"accusing_plain": "blaming_predicates", "accusing_blaming": "plain_predicates"}
_PREDICATES: Mapping[Kind, str] = {
    "open_plain": "plain_predicates",
    "open_blaming": "blaming_predicates",
    "accusing_plain": "plain_predicates",
    "accusing_blaming": "blaming_predicates",
}


def write_sample(path: Path, rows: int, seed: int) -> None:
    """Write `rows` generated questions as CSV, atomically; the same rows and seed give the same bytes."""
    with writing_whole(path) as file:
        _write(file, rows, np.random.default_rng(seed))


def _write(file: TextIO, rows: int, rng: np.random.Generator) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("qid", "question_text", "target"))
    targets = (np.arange(rows) < round(rows * POSITIVE_RATE)).astype(np.int8)
    rng.shuffle(targets)
    with progress("write the sample", rows, " rows") as bar:
        for start in range(0, rows, _CHUNK_ROWS):
            chunk = targets[start : start + _CHUNK_ROWS]
            writer.writerows(zip(_qids(rng, len(chunk)), _questions(rng, chunk), chunk.tolist(), strict=True))
            bar.update(len(chunk))


def _qids(rng: np.random.Generator, rows: int) -> Iterator[str]:
    digits = rng.bytes(_QID_BYTES * rows).hex()
    return (digits[start : start + 2 * _QID_BYTES] for start in range(0, len(digits), 2 * _QID_BYTES))


def _questions(rng: np.random.Generator, targets: np.ndarray) -> Iterator[str]:
    """Yield one question for each target; `targets` has the shape [rows]."""
    rows = len(targets)
    insincere = rng.choice(_KINDS, size=rows, p=_INSINCERE_SHARES)
    sincere = rng.choice(_KINDS, size=rows, p=_SINCERE_SHARES)
    kinds: list[Kind] = np.where(targets == 1, insincere, sincere).tolist()
    shapes, slots = rng.random((rows, _SHAPE_CHOICES)).tolist(), rng.random((rows, _SLOT_CHOICES)).tolist()
    for kind, shape, slot in zip(kinds, shapes, slots, strict=True):
        yield _shape(kind, shape).format_map(_fillings(slot))


def _shape(kind: Kind, draws: Sequence[float]) -> str:
    """Return a question with open slots; `draws` are `_SHAPE_CHOICES` numbers in [0, 1) that choose its pieces."""
    frame, predicate, contrast, lead, tail = draws
    question = _pick(_frames(kind), frame).replace("{predicate}", _pick(_phrases()[_PREDICATES[kind]], predicate))
    if kind in _CONTRASTS and contrast < _CONTRAST_SHARE:
        question = (
            f"{question[:-1]} while {{group2}} {_pick(_phrases()[_CONTRASTS[kind]], contrast / _CONTRAST_SHARE)}?"
        )
    if tail < _TAIL_SHARE:
        question = f"{question[:-1]}, {_pick(_phrases()['tails'], tail / _TAIL_SHARE)}?"
    if lead < _LEAD_SHARE:
        question = f"{_pick(_phrases()['leads'], lead / _LEAD_SHARE)} {question}"
    return question


def _fillings(draws: Sequence[float]) -> dict[str, str]:
    """Return the words for the slots; `draws` are `_SLOT_CHOICES` numbers in [0, 1) that choose them."""
    words = _phrases()
    return {
        "group": _pick_modified(words["trades"], draws[0], words["modifiers"], draws[1]),
        "group2": _pick_modified(words["trades"], draws[2], words["modifiers"], draws[3]),
        "thing": _pick_modified(words["things"], draws[4], words["makes"], draws[5]),
        "thing2": _pick_modified(words["things"], draws[6], words["makes"], draws[7]),
        "place": _pick(words["places"], draws[8]),
    }


@cache
def _phrases() -> Mapping[str, Sequence[str]]:
    """Return the lists in phrases.toml by name."""
    phrases: Mapping[str, Sequence[str]] = tomllib.loads(_PHRASES.read_text(encoding="utf-8"))
    return phrases


@cache
def _frames(kind: Kind) -> Sequence[str]:
    if kind.startswith("accusing"):
        return _phrases()["accusing_frames"]
    return [*_phrases()["open_frames"], *(_phrases()["everyday_frames"] if kind == "open_plain" else [])]


def _pick_modified(nouns: Sequence[str], noun: float, modifiers: Sequence[str], modifier: float) -> str:
    plain = _pick(nouns, noun)
    return f"{_pick(modifiers, modifier / _MODIFIER_SHARE)} {plain}" if modifier < _MODIFIER_SHARE else plain


def _pick(phrases: Sequence[str], number: float) -> str:
    return phrases[int(number * len(phrases))]
