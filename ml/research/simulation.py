"""What the gate does over many weeks of retraining when the truth is known: how often it errs, how much it sees.

A retrained model is drawn from two real trainings that were scored on the same rows. Each row has a centre, the mean
of its two logits, and a spread, by which two trainings differ on rows of that centre. A model's logit on a row is
centre + spread x standard normal noise, drawn anew for each model: equal models by construction, that disagree as
often as the real ones did. A better model has the logits of positive rows raised, all by the same amount, which is
found by bisection so that its best F1 is higher by the wanted gain.

Three rules judge the same weeks: this gate; its operating point with "precision and recall both higher" alone; and that
plain rule at one fixed threshold for all models, as where nobody chooses one.

Rows are drawn with replacement, at the share of positives that is met in service. Weeks apart have rows and a champion
of their own. In a year all weeks share their rows, as with the hash split, and whom a rule promotes is its champion
from then on: one that was lucky on these rows stays lucky. A year's candidates are equal models; at the end of each
quarter better ones are judged beside them, and not promoted.

Only the operating point and the comparison with the champion are simulated; the guards are taken as passed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from scipy.special import expit, logit

from ml.config import PolicyConfig
from ml.errors import DataError
from ml.judge.statistics import BoolArray, both_higher, interval, label_differences
from ml.metrics import FloatArray, IntArray
from ml.model.threshold import Float32Array, choose_dominating_threshold, choose_threshold, operating_point
from ml.page import BLUE, GREY, ORANGE, svg
from ml.progress import progress
from ml.store import Store

GATE, BOTH_HIGHER, FIXED_THRESHOLD = RULES = ("this gate", "both higher", "both higher, fixed threshold")
WEEKS_OF_YEAR, WEEKS_OF_QUARTER = 52, 13
_SPREAD_BINS = 20
_LOWEST_PROBABILITY = 1e-7
_LARGEST_RAISE = 5.0
_RAISE_PRECISION = 1e-4
_ROWS_FOR_BEST_POINT = 200_000


@dataclass(frozen=True)
class Population:
    """Rows as trainings see them: `target` is 0 or 1, `centre` and `spread` are in logits; all of shape [rows]."""

    target: IntArray
    centre: FloatArray
    spread: FloatArray

    @classmethod
    def of(cls, target: IntArray, first: FloatArray, second: FloatArray) -> "Population":
        """From the probabilities that two trainings give to the same rows."""
        clipped = (
            np.clip(each.astype(float), _LOWEST_PROBABILITY, 1 - _LOWEST_PROBABILITY) for each in (first, second)
        )
        logits = [logit(each) for each in clipped]
        centre, difference = (logits[0] + logits[1]) / 2, logits[0] - logits[1]
        spread = np.empty(len(centre))
        for rows in np.array_split(np.argsort(centre, kind="stable"), _SPREAD_BINS):
            spread[rows] = difference[rows].std() / np.sqrt(2)
        return cls(target, centre, spread)

    def draw(self, rows: int, positive_rate: float, random: np.random.Generator) -> "Population":
        """So many rows with replacement, at that share of positives."""
        positives = round(rows * positive_rate)
        picked = np.concatenate(
            [
                random.choice(np.flatnonzero(self.target == label), size)
                for label, size in ((1, positives), (0, rows - positives))
            ]
        )
        return Population(self.target[picked], self.centre[picked], self.spread[picked])

    def score(self, raised: float, random: np.random.Generator) -> Float32Array:
        """Probabilities, float32 [rows], of a new training, the logits of positive rows raised."""
        noise = random.standard_normal(len(self.target), dtype=np.float32)
        return np.asarray(expit(self.centre + self.spread * noise + raised * self.target), np.float32)


@dataclass(frozen=True)
class Rows:
    """What thresholds are chosen on, and what judges."""

    validation: Population
    test: Population


@dataclass(frozen=True)
class Training:
    """The scores of one training, float32: of shape [validation rows] and [test rows]."""

    validation: Float32Array
    test: Float32Array


@dataclass(frozen=True)
class Model:
    """A training with its decision threshold."""

    training: Training
    threshold: float

    @property
    def flagged(self) -> BoolArray:
        """Which test rows it labels 1, shape [test rows]."""
        return self.training.test >= self.threshold


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The share of weeks in which a rule promotes a candidate whose best F1 is truly higher by `gain`."""

    rule: str
    test_rows: int
    same_rows: bool
    gain: float
    promoted: float


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What is the same in every week; `positive_rate` is the share of positives that is met in service."""

    population: Population
    policy: PolicyConfig
    positive_rate: float

    def run(self, *, test_rows: Sequence[int], gains: Sequence[float], weeks: int, years: int) -> list[Outcome]:
        """Each rule's outcomes at each size and each true gain in best F1, in weeks apart and in whole years."""
        random = np.random.default_rng(self.policy.seed)
        raises = [self.find_raise(gain) for gain in gains]
        outcomes = []
        with progress("simulate", len(test_rows) * (weeks + years), " weeks and years") as bar:
            for rows in test_rows:
                apart, together = [], []
                for _ in range(weeks):
                    apart.append([self.judge_week(raised, rows, random) for raised in raises])
                    bar.update()
                for _ in range(years):
                    together.append(self.judge_year(raises, rows, random))
                    bar.update()
                outcomes += _outcomes(np.mean(apart, axis=0), rows, gains, same_rows=False)
                outcomes += _outcomes(np.mean(together, axis=0), rows, gains, same_rows=True)
        return outcomes

    def judge_week(self, raised: float, size: int, random: np.random.Generator) -> BoolArray:
        """Whether each of RULES promotes a candidate, shape [rules]; as many validation rows are drawn as test rows."""
        rows = self._draw(size, random)
        champion, candidate = self._train(rows, 0.0, random), self._train(rows, raised, random)
        return np.array(
            [self._judge(rule, rows, self._first(rule, rows, champion), candidate, random)[0] for rule in RULES]
        )

    def judge_year(self, raises: Sequence[float], size: int, random: np.random.Generator) -> FloatArray:
        """The share of weeks in which each of RULES promotes, shape [raises, rules]; 0 is the candidate of every week.

        The first champion of the year is a training like all.
        """
        rows = self._draw(size, random)
        first = self._train(rows, 0.0, random)
        champions = {rule: self._first(rule, rows, first) for rule in RULES}
        promoted = np.zeros((len(raises), len(RULES)))
        for week in range(1, WEEKS_OF_YEAR + 1):
            for row, raised in enumerate(raises):
                if raised and week % WEEKS_OF_QUARTER:
                    continue
                candidate = self._train(rows, raised, random)
                for column, rule in enumerate(RULES):
                    wins, model = self._judge(rule, rows, champions[rule], candidate, random)
                    promoted[row, column] += wins
                    if wins and not raised:
                        champions[rule] = model
        weeks = [WEEKS_OF_YEAR // WEEKS_OF_QUARTER if raised else WEEKS_OF_YEAR for raised in raises]
        shares: FloatArray = promoted / np.array(weeks)[:, np.newaxis]
        return shares

    def _draw(self, size: int, random: np.random.Generator) -> Rows:
        return Rows(*(self.population.draw(size, self.positive_rate, random) for _ in range(2)))

    def _train(self, rows: Rows, raised: float, random: np.random.Generator) -> Training:
        return Training(rows.validation.score(raised, random), rows.test.score(raised, random))

    def _first(self, rule: str, rows: Rows, training: Training) -> Model:
        """A training without a champion to beat: its threshold is chosen by F1."""
        if rule == FIXED_THRESHOLD:
            return Model(training, self.fixed_threshold)
        labels = rows.validation.target.astype(np.float32)
        return Model(training, choose_threshold(labels, training.validation, positive_rate=self.positive_rate))

    def _judge(
        self, rule: str, rows: Rows, champion: Model, training: Training, random: np.random.Generator
    ) -> tuple[bool, Model]:
        """Whether a rule promotes, and the candidate at its threshold."""
        threshold = champion.threshold
        if rule != FIXED_THRESHOLD:
            labels, rate = rows.validation.target.astype(np.float32), self.positive_rate
            to_beat = operating_point(labels, champion.training.validation, champion.threshold, positive_rate=rate)
            threshold = choose_dominating_threshold(labels, training.validation, to_beat, positive_rate=rate)
        candidate = Model(training, threshold)
        higher = both_higher(rows.test.target, candidate.flagged, champion.flagged)
        if rule != GATE or not higher:
            return higher, candidate
        differences = label_differences(
            rows.test.target, candidate.flagged, champion.flagged, resamples=self.policy.resamples, random=random
        )
        return interval(*differences["f1"], self.policy.confidence).lower > self.policy.min_f1_gain, candidate

    @cached_property
    def fixed_threshold(self) -> float:
        """Where F1 is best for a model without a gain."""
        return self._best_point(0.0)[0]

    def find_raise(self, gain: float) -> float:
        """By how much the logits of positive rows must be raised for a best F1 that is higher by `gain`."""
        low, high = 0.0, _LARGEST_RAISE if gain else 0.0
        wanted = self._best_point(0.0)[1] + gain
        while high - low > _RAISE_PRECISION:
            middle = (low + high) / 2
            low, high = (low, middle) if self._best_point(middle)[1] > wanted else (middle, high)
        return low

    def _best_point(self, raised: float) -> tuple[float, float]:
        """Threshold and F1, on many rows: always the same ones with the same noise."""
        random = np.random.default_rng(0)
        drawn = self.population.draw(_ROWS_FOR_BEST_POINT, self.positive_rate, random)
        scores, labels = drawn.score(raised, random), drawn.target.astype(np.float32)
        threshold = choose_threshold(labels, scores, positive_rate=self.positive_rate)
        point = operating_point(labels, scores, threshold, positive_rate=self.positive_rate)
        return threshold, 2 * point.precision * point.recall / (point.precision + point.recall)


def read_two_trainings(store: Store) -> tuple[IntArray, FloatArray, FloatArray]:
    """Targets, and the scores of two models, of the stored comparison with the most rows; raises DataError without."""
    found = [
        (arrays["target"], arrays["candidate"], arrays["champion"])
        for name in sorted(store.names("comparisons"))
        if "champion" in (arrays := np.load(store.open("comparisons", name) / "scores.npz"))
        and not np.array_equal(arrays["candidate"], arrays["champion"])
    ]
    if not found:
        raise DataError(
            "no stored comparison has the scores of two different models",
            where="store/comparisons",
            fix="retrain twice with two values of train.seed",
        )
    return max(found, key=lambda arrays: len(arrays[0]))


def _outcomes(promoted: FloatArray, test_rows: int, gains: Sequence[float], *, same_rows: bool) -> list[Outcome]:
    """From shares of shape [gains, rules]."""
    return [
        Outcome(rule=rule, test_rows=test_rows, same_rows=same_rows, gain=gain, promoted=float(share))
        for gain, shares in zip(gains, promoted, strict=True)
        for rule, share in zip(RULES, shares, strict=True)
    ]


def outcome_table(outcomes: Sequence[Outcome], *, weeks: int, years: int) -> str:
    """A Markdown table: a row for each kind of rows and rule, a column for each true gain."""
    gains = sorted({outcome.gain for outcome in outcomes})
    header = ["test rows", "rule", *(f"{100 * gain:+g} points" if gain else "equal" for gain in gains)]
    kinds = sorted({(outcome.same_rows, outcome.test_rows) for outcome in outcomes})
    rows = [
        [
            _rows_name(size, same_rows=same_rows),
            rule,
            *(
                f"{each.promoted:.1%}"
                for each in outcomes
                if (each.same_rows, each.test_rows, each.rule) == (same_rows, size, rule)
            ),
        ]
        for same_rows, size in kinds
        for rule in RULES
    ]
    lines = [" | ".join(cells) for cells in (header, ["---"] * len(header), *rows)]
    title = (
        f"Share of weeks in which the candidate is promoted: {weeks:,} weeks apart, {years:,} years on the same rows"
    )
    return f"{title}\n\n" + "\n".join(f"| {line} |" for line in lines)


def _rows_name(size: int, *, same_rows: bool) -> str:
    return f"{size:,}, the same all year" if same_rows else f"{size:,}"


def outcome_plot(outcomes: Sequence[Outcome]) -> Markup:
    """For each rule a panel, in it a line for each kind of rows: the share that is promoted, by the true gain."""
    figure = Figure(figsize=(11, 3.8))
    panels = figure.subplots(1, len(RULES), sharey=True)
    sizes = sorted({outcome.test_rows for outcome in outcomes})
    for axes, rule in zip(panels, RULES, strict=True):
        for size, colour in zip(sizes, cycle((GREY, ORANGE, BLUE)), strict=False):
            for same_rows, style in ((False, "o-"), (True, "^--")):
                line = [
                    each for each in outcomes if (each.rule, each.test_rows, each.same_rows) == (rule, size, same_rows)
                ]
                gains, shares = [100 * each.gain for each in line], [100 * each.promoted for each in line]
                axes.plot(gains, shares, style, color=colour, label=_rows_name(size, same_rows=same_rows))
        axes.axhline(5, color="#1d2733", linestyle=":", linewidth=1)
        axes.set_title(rule, loc="left", fontsize=11, fontweight="bold")
        axes.set(xlabel="true gain in F1 (points)", ylim=(-3, 103))
        axes.grid(color="#e8edf1", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("weeks with a promotion (%)")
    panels[-1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), title="test rows")
    return svg(figure)
