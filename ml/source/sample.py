"""Generate a CSV in the format of the Quora data, with invented questions from a grammar of our own.

A question is a frame that is filled with a group, a predicate and everyday things. A question is insincere when an
accusing frame has a blaming predicate. Frames and predicates of these kinds are also common in sincere questions, but
not together; some sincere questions contain both, but blame another group. Both classes contain noise, so that a model
can learn the task, but not perfectly.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TextIO

import numpy as np

from ml.progress import progress
from ml.store.files import writing_whole

POSITIVE_RATE = 0.062
_CHUNK_ROWS = 50_000
_QID_BYTES = 10
_SHAPE_CHOICES, _SLOT_CHOICES = 5, 9
_LEAD_SHARE, _TAIL_SHARE, _MODIFIER_SHARE = 0.08, 0.1, 0.4
_CONTRAST_SHARE = 0.4

Kind = Literal["open_plain", "open_blaming", "accusing_plain", "accusing_blaming"]
_KINDS: tuple[Kind, ...] = ("open_plain", "open_blaming", "accusing_plain", "accusing_blaming")
_SINCERE_SHARES = (0.78, 0.12, 0.092, 0.008)
_INSINCERE_SHARES = (0.09, 0.03, 0.04, 0.84)


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(" ".join(phrase.split()) for phrase in text.split("|"))


_TRADES = _phrases(
    """bakers|gardeners|beekeepers|plumbers|librarians|cyclists|kayakers|potters|barbers|drummers|knitters|chefs|
tailors|pilots|sailors|carpenters|chess players|dentists|florists|glassblowers|jugglers|locksmiths|
magicians|opticians|painters|piano tuners|referees|shepherds|surfers|tap dancers|taxi drivers|
umbrella makers|violinists|waiters|weather presenters|wine tasters|yoga teachers|bus drivers|puppeteers|
stamp collectors|crossword solvers|ice skaters|fortune tellers|bird watchers|campers|podcasters|roommates|
landlords|neighbours|vegetable growers|coffee drinkers|tea drinkers|early risers|night owls|cat owners|
dog owners|list makers"""
)
_MODIFIERS = _phrases(
    """left-handed|sleepy|amateur|lakeside|freelance|prize-winning|suburban|tall|short|local|modern|famous|part-time|
self-taught|bearded|cheerful|seaside|weekend|professional"""
)
_MAKES = _phrases("cheap|wooden|old|small|colourful|second-hand|striped|heavy|foreign|expensive|famous|blue|yellow|new")
_THINGS = _phrases(
    """loaves of bread|honey jars|tulips|raincoats|bicycles|maps|soups|umbrellas|pianos|buttons|teapots|ladders|
gloves|puzzles|candles|pancakes|lanterns|blankets|scissors|mirrors|sandals|whistles|marbles|kites|
bookshelves|gardens|kettles|suitcases|crosswords|pigeons|recipes|parking meters|timetables|carpets|
doorbells|postcards|spoons|balconies|cheeses|lemons|compost heaps|harmonicas|jigsaw puzzles|windmills|
pumpkins|sourdough loaves|jars of marmalade|paper cranes|telescopes|mushrooms|hammocks"""
)
_PLACES = _phrases(
    """a small flat|the countryside|winter|a shared kitchen|the mountains|a big city|the office|a village|summer|
an old house|the harbour|a studio|the rain|a caravan|the suburbs|a lighthouse|a market hall|the evening"""
)

_PLAIN_PREDICATES = _phrases(
    """like talking about {thing}|collect {thing}|care so much about {thing}|learn about {thing} as children|
use {thing} every day|meet in {place}|prefer {thing} to {thing2}|travel with {thing}|
sell {thing} in {place}|paint {thing}|sing while working with {thing}|repair {thing} at home|
teach others about {thing}|store {thing} in {place}|write books about {thing}|start work so early|
wear hats in {place}|choose {thing} over {thing2}|save money on {thing}|read about {thing} in {place}|
need {thing} for their work|laugh about {thing}|share {thing} with friends|photograph {thing}|
cook with {thing}|plan their holidays around {thing}|compare {thing} and {thing2}|take {thing} to {place}"""
)
_BLAMING_PREDICATES = _phrases(
    """lie about {thing}|ruin {thing} for everybody|cheat with {thing}|steal {thing}|destroy {place}|
pretend to understand {thing}|brag about {thing}|spoil {thing} on purpose|whine about {thing}|hoard {thing}|
ignore everyone else in {place}|refuse to admit that they know nothing about {thing}|
poison the talk about {thing}|mock people who love {thing}|waste everybody's time with {thing}|
fake their love of {thing}|deceive people about {thing}|bully beginners over {thing}|
act superior in {place}|demand praise for {thing}|exploit people who need {thing}|
deserve no respect for their {thing}|spread nonsense about {thing}|hate anyone with better {thing}|
smell of {thing}|blame others for bad {thing}|sabotage {thing}|live off the {thing} of others|
sulk about {thing}|swindle us over {thing}"""
)

_OPEN_FRAMES = _phrases(
    """What is the best way to find out why some {group} {predicate}?|How can I tell whether {group} {predicate}?|
Is there a study on how often {group} {predicate}?|What should I do if {group} near me {predicate}?|
How common is it that {group} {predicate}?|Do {group} {predicate} in your country?|
When did {group} begin to {predicate}?|Which {group} {predicate}, and how did they start?|
Are there films in which {group} {predicate}?|How do I answer a friend who says that {group} {predicate}?|
Where can I read about {group} who {predicate}?|What does it mean in a dream when {group} {predicate}?|
Has anybody here met {group} who {predicate}?|What would happen if fewer {group} chose to {predicate}?|
How should I write a story in which {group} {predicate}?"""
)
_ACCUSING_FRAMES = _phrases(
    """Why do all {group} {predicate}?|Why do {group} always {predicate}?|
Isn't it obvious that {group} {predicate}?|When will {group} finally admit that they {predicate}?|
Why does nobody stop {group} when they {predicate}?|Why are we supposed to smile when {group} {predicate}?|
How can anyone defend {group}, who {predicate}?|Do {group} even know that they {predicate}?|
Why do {group} {predicate} and then act surprised?|Why should the rest of us pay while {group} {predicate}?|
Why do {group} think it is fine to {predicate}?|What is wrong with {group} that they {predicate}?|
Am I the only one who sees that {group} {predicate}?|How do {group} sleep at night when they {predicate}?|
Why is it always {group} who {predicate}?"""
)
_EVERYDAY_FRAMES = _phrases(
    """How do {group} keep {thing} fresh in {place}?|What is the difference between {thing} and {thing2}?|
Can I learn to repair {thing} from {group}?|What are the best {thing} for {group} in {place}?|
How much do {group} pay for {thing}?|Which {thing} would {group} recommend to a beginner?|
What is it like to work with {group} and {thing} in {place}?|
How do I become one of the {group} with {thing}?|What do {group} think of {thing}?|
Why are {thing} so popular among {group}?|Should I buy {thing} or {thing2} for {place}?|
How long do {group} take to learn about {thing}?|Who sold {thing} to {group} first?|
What are good books on {thing} and {thing2}?|How many {thing} do {group} need?|
Are {thing} or {thing2} allowed in {place}?|Is it worth having {thing} if you have {thing2}?|
Where do {group} buy {thing}?|What is the history of {thing} among {group}?|
How did {group} live without {thing}?|
Do {group} need {thing}?|Are {thing} better than {thing2}?|Can {group} repair {thing}?|Is it {thing} or {thing2}?|
Do {group} like {thing}?|Who sells {thing} to {group}?|Do {thing} go with {thing2}?|Must {group} own {thing}?|
Can {thing} replace {thing2}?|
What makes {thing} different from {thing2} in {place}?"""
)
_LEADS = _phrases(
    """I moved to {place} last year.|My sister works with {group}.|
I have been thinking about {thing} since yesterday.|I am new to {thing} and own only {thing2}.|
We had a long argument at dinner about {thing} and {thing2}.|
People tell me that {group} and {group2} rarely agree.|My uncle, who lives in {place}, swears by {thing}.|
There was a long article in the paper about {group} and their {thing}, which I did not quite understand."""
)
_TAILS = _phrases(
    """especially in {place}|even when there are {thing} around|although {group2} do not|as I heard from {group2}|
now that {thing2} are so easy to get|without asking {group2} or anyone else in {place}|
and what has {thing2} to do with it"""
)

_FRAMES: Mapping[Kind, tuple[str, ...]] = {
    "open_plain": _OPEN_FRAMES + _EVERYDAY_FRAMES,
    "open_blaming": _OPEN_FRAMES,
    "accusing_plain": _ACCUSING_FRAMES,
    "accusing_blaming": _ACCUSING_FRAMES,
}
_PREDICATES: Mapping[Kind, tuple[str, ...]] = {
    "open_plain": _PLAIN_PREDICATES,
    "open_blaming": _BLAMING_PREDICATES,
    "accusing_plain": _PLAIN_PREDICATES,
    "accusing_blaming": _BLAMING_PREDICATES,
}
# Predicates of a second clause: both kinds of question then have the same words, and only their order tells the blamed.
_CONTRASTS: Mapping[Kind, tuple[str, ...]] = {
    "accusing_plain": _BLAMING_PREDICATES,
    "accusing_blaming": _PLAIN_PREDICATES,
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
    question = _pick(_FRAMES[kind], frame).replace("{predicate}", _pick(_PREDICATES[kind], predicate))
    if kind in _CONTRASTS and contrast < _CONTRAST_SHARE:
        question = f"{question[:-1]} while {{group2}} {_pick(_CONTRASTS[kind], contrast / _CONTRAST_SHARE)}?"
    if tail < _TAIL_SHARE:
        question = f"{question[:-1]}, {_pick(_TAILS, tail / _TAIL_SHARE)}?"
    if lead < _LEAD_SHARE:
        question = f"{_pick(_LEADS, lead / _LEAD_SHARE)} {question}"
    return question


def _fillings(draws: Sequence[float]) -> dict[str, str]:
    """Return the words for the slots; `draws` are `_SLOT_CHOICES` numbers in [0, 1) that choose them."""
    return {
        "group": _pick_modified(_TRADES, draws[0], _MODIFIERS, draws[1]),
        "group2": _pick_modified(_TRADES, draws[2], _MODIFIERS, draws[3]),
        "thing": _pick_modified(_THINGS, draws[4], _MAKES, draws[5]),
        "thing2": _pick_modified(_THINGS, draws[6], _MAKES, draws[7]),
        "place": _pick(_PLACES, draws[8]),
    }


def _pick_modified(nouns: Sequence[str], noun: float, modifiers: Sequence[str], modifier: float) -> str:
    plain = _pick(nouns, noun)
    return f"{_pick(modifiers, modifier / _MODIFIER_SHARE)} {plain}" if modifier < _MODIFIER_SHARE else plain


def _pick(phrases: Sequence[str], number: float) -> str:
    return phrases[int(number * len(phrases))]
