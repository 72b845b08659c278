"""Count how often the watch over scoring alarms by chance, and how often it sees a drift.

A simulated champion scores questions of which 6.19 % are insincere: the log-odds of its scores are normal around -4 for
sincere and -0.4 for insincere ones, with a standard deviation of 1.8; the lengths are log-normal around 60 characters.
It was trained on a file of such questions, and its profile is that of so many validation rows. Each week it scores a
file of questions of the same kind, or of another. A file alarms if a figure is above its bound in scores.json; the
figures of a file are drawn apart from each other, and training anew for every hundred files.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit

from ml.model.profile import FloatArray, distribution_shift, profile_of, share_shift
from ml.records import Histogram, Profile

INSINCERE, THRESHOLD = 0.0619, 0.4
VALIDATION_ROWS, FILE_ROWS = (200, 2_000, 13_000), (50, 200, 1_000, 10_000, 100_000)
FILES, FILES_OF_A_TRAINING = 10_000, 100
_SUITE = Path(__file__).parents[1] / "expectations" / "scores.json"
_POOL_ROWS = 500_000


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of questions: the share of insincere ones, a factor on the lengths, and a fall of their log-odds."""

    insincere: float = INSINCERE
    longer: float = 1.0
    fall: float = 0.0

    def draw(self, random: np.random.Generator, rows: int) -> tuple[FloatArray, FloatArray]:
        """Return scores and lengths, both [rows]."""
        insincere = random.random(rows) < self.insincere
        scores = expit(random.normal(-4 + (3.6 - self.fall) * insincere, 1.8))
        return scores, np.rint(self.longer * np.exp(random.normal(np.log(60), 0.45, rows)))


BY_CHANCE = "by chance"
KINDS = {
    BY_CHANCE: Kind(),
    "insincere: 9 %": Kind(insincere=0.09),
    "insincere: 12 %": Kind(insincere=0.12),
    "20 % longer": Kind(longer=1.2),
    "50 % longer": Kind(longer=1.5),
}


def measure(files: int = FILES) -> list[dict[str, object]]:
    """Return the share of files that alarm, in percent, for each size of training and of file, and each kind.

    A drift is looked for in a tenth of the files.
    """
    random = np.random.default_rng(0)
    pools = {name: kind.draw(random, _POOL_ROWS) for name, kind in KINDS.items()}
    return [
        {"validation rows": known, "file rows": rows}
        | {
            name: _alarming(random, pool, known, rows, files if name == BY_CHANCE else files // 10)
            for name, pool in pools.items()
        }
        for known in VALIDATION_ROWS
        for rows in FILE_ROWS
    ]


def _alarming(
    random: np.random.Generator, pool: tuple[FloatArray, FloatArray], known: int, rows: int, files: int
) -> str:
    alarms = 0
    for _ in range(files // FILES_OF_A_TRAINING):
        scores, lengths = Kind().draw(random, known)
        then = profile_of(["a" * int(length) for length in lengths], scores.astype(np.float32), THRESHOLD)
        alarms += sum(_alarming_files(random, pool, then, rows))
    return f"{100 * alarms / (files // FILES_OF_A_TRAINING * FILES_OF_A_TRAINING):.2f}"


def _alarming_files(
    random: np.random.Generator, pool: tuple[FloatArray, FloatArray], then: Profile, rows: int
) -> Iterator[bool]:
    """Draw each file as its counts in the bins: that is the same as drawing its rows, and quick."""
    bounds = json.loads(_SUITE.read_text(encoding="utf-8"))["meta"]["parameters"]
    share = float(np.mean(pool[0] >= THRESHOLD))
    scores, lengths = _shares(pool[0], then.scores), _shares(pool[1], then.lengths)
    for _ in range(FILES_OF_A_TRAINING):
        flagged = int(random.binomial(rows, share))
        yield (
            share_shift(flagged, rows, then.flagged, then.rows) > bounds["max_flagged_shift"]
            or distribution_shift(_draw(random, scores, then.scores, rows), then.scores) > bounds["max_score_shift"]
            or distribution_shift(_draw(random, lengths, then.lengths, rows), then.lengths) > bounds["max_length_shift"]
        )


def _shares(values: FloatArray, bins: Histogram) -> FloatArray:
    counts = np.bincount(np.searchsorted(bins.edges, values, side="right"), minlength=len(bins.counts))
    return np.asarray(counts / len(values))


def _draw(random: np.random.Generator, shares: FloatArray, bins: Histogram, rows: int) -> Histogram:
    return Histogram(edges=bins.edges, counts=tuple(random.multinomial(rows, shares).tolist()))
