"""Simulate weeks of retraining in which the truth is known: how often does the gate err, and which gains does it see?

The simulated models come from two real trainings that were scored on the same rows. Each row has a centre, the mean of
its two logits, and a spread, by which the logit of one training varies; it is estimated on rows with similar centres. A
model's logit on a row is centre + spread x standard normal noise, and each model has its own noise. So all models are
equally good, and they disagree as often as the two real ones. For a better model, the logits of all positive rows are
raised by the same amount. This amount is found by bisection, so that the best F1 is higher by the wanted gain.

Three rules judge the same weeks: this gate; the rule "precision and recall both higher" at the gate's thresholds; and
the same rule at one fixed threshold for all models, for pipelines that do not choose a threshold.

Rows are sampled with replacement, at the share of positives in service. Weeks apart have rows and a champion of their
own. In a year all weeks share their rows, as with the hash split, and a candidate that a rule promotes is this rule's
champion from then on: a model that was lucky on these rows stays lucky. The candidates of a year are equal models. At
the end of each quarter, better candidates are judged too, but they never become the champion.

Only the choice of the threshold and the comparison with the champion are simulated; the guards count as passed.
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
    """The rows that models score: `target` is 0 or 1, `centre` and `spread` are in logits; all of shape [rows]."""

    target: IntArray
    centre: FloatArray
    spread: FloatArray

    @classmethod
    def of(cls, target: IntArray, first: FloatArray, second: FloatArray) -> "Population":
        """Make a population from the probabilities that two trainings give to the same rows."""
        clipped = (
            np.clip(each.astype(float), _LOWEST_PROBABILITY, 1 - _LOWEST_PROBABILITY) for each in (first, second)
        )
        logits = [logit(each) for each in clipped]
        centre, difference = (logits[0] + logits[1]) / 2, logits[0] - logits[1]
        spread = np.empty(len(centre))
        for rows in np.array_split(np.argsort(centre, kind="stable"), _SPREAD_BINS):
            spread[rows] = difference[rows].std() / np.sqrt(2)
        return cls(target, centre, spread)

    def sample(self, rows: int, positive_rate: float, random: np.random.Generator) -> "Population":
        """Sample this number of rows with replacement, at this share of positives."""
        positives = round(rows * positive_rate)
        picked = np.concatenate(
            [
                random.choice(np.flatnonzero(self.target == label), size)
                for label, size in ((1, positives), (0, rows - positives))
            ]
        )
        return Population(self.target[picked], self.centre[picked], self.spread[picked])

    def score(self, raised: float, random: np.random.Generator) -> Float32Array:
        """Return the probabilities of a new training, float32 [rows]; `raised` is added to logits of positive rows."""
        noise = random.standard_normal(len(self.target), dtype=np.float32)
        return np.asarray(expit(self.centre + self.spread * noise + raised * self.target), np.float32)


@dataclass(frozen=True)
class Rows:
    """The rows of a week: thresholds are chosen on the validation rows, models are compared on the test rows."""

    validation: Population
    test: Population


@dataclass(frozen=True)
class Training:
    """The scores of one training, float32 [validation rows] and float32 [test rows]."""

    validation: Float32Array
    test: Float32Array


@dataclass(frozen=True)
class Model:
    """A training with its decision threshold."""

    training: Training
    threshold: float

    @property
    def flagged(self) -> BoolArray:
        """Whether the model labels each test row 1, boolean [test rows]."""
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
    """Settings that are the same in every week; `positive_rate` is the share of positives in service."""

    population: Population
    policy: PolicyConfig
    positive_rate: float

    def run(self, *, test_rows: Sequence[int], gains: Sequence[float], weeks: int, years: int) -> list[Outcome]:
        """Simulate each number of test rows and each true gain in best F1, in weeks apart and in whole years."""
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
        """Tell whether each of RULES promotes a candidate, [rules]; `size` is the number of test rows.

        There are as many validation rows as test rows.
        """
        rows = self._sample_rows(size, random)
        champion, candidate = self._train(rows, 0.0, random), self._train(rows, raised, random)
        return np.array(
            [self._judge(rule, rows, self._first(rule, rows, champion), candidate, random)[0] for rule in RULES]
        )

    def judge_year(self, raises: Sequence[float], size: int, random: np.random.Generator) -> FloatArray:
        """Return the share of weeks in which each of RULES promotes, [raises, rules].

        Candidates with the raise 0 are judged every week, all others at the end of each quarter. The first champion of
        the year has the raise 0.
        """
        rows = self._sample_rows(size, random)
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

    def _sample_rows(self, size: int, random: np.random.Generator) -> Rows:
        return Rows(*(self.population.sample(size, self.positive_rate, random) for _ in range(2)))

    def _train(self, rows: Rows, raised: float, random: np.random.Generator) -> Training:
        return Training(rows.validation.score(raised, random), rows.test.score(raised, random))

    def _first(self, rule: str, rows: Rows, training: Training) -> Model:
        """Choose the threshold of a training that has no champion to beat: it maximises F1."""
        if rule == FIXED_THRESHOLD:
            return Model(training, self.fixed_threshold)
        labels = rows.validation.target.astype(np.float32)
        return Model(training, choose_threshold(labels, training.validation, positive_rate=self.positive_rate))

    def _judge(
        self, rule: str, rows: Rows, champion: Model, training: Training, random: np.random.Generator
    ) -> tuple[bool, Model]:
        """Tell whether a rule promotes the candidate, and return the candidate with its threshold."""
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
        """The threshold that maximises F1 for a model without a gain."""
        return self._best_point(0.0)[0]

    def find_raise(self, gain: float) -> float:
        """Find how much the logits of positive rows must be raised so that the best F1 is higher by `gain`."""
        low, high = 0.0, _LARGEST_RAISE if gain else 0.0
        wanted = self._best_point(0.0)[1] + gain
        while high - low > _RAISE_PRECISION:
            middle = (low + high) / 2
            low, high = (low, middle) if self._best_point(middle)[1] > wanted else (middle, high)
        return low

    def _best_point(self, raised: float) -> tuple[float, float]:
        """Return the threshold with the best F1, and this F1, on many rows; rows and noise are always the same."""
        random = np.random.default_rng(0)
        rows = self.population.sample(_ROWS_FOR_BEST_POINT, self.positive_rate, random)
        scores, labels = rows.score(raised, random), rows.target.astype(np.float32)
        threshold = choose_threshold(labels, scores, positive_rate=self.positive_rate)
        point = operating_point(labels, scores, threshold, positive_rate=self.positive_rate)
        return threshold, 2 * point.precision * point.recall / (point.precision + point.recall)


def read_two_trainings(store: Store) -> tuple[IntArray, FloatArray, FloatArray]:
    """Read targets and the scores of two models from the stored comparison with the most rows.

    Raises DataError if no stored comparison has the scores of two different models.
    """
    found = [
        (arrays["target"], arrays["candidate"], arrays["champion"])
        for name in sorted(store.names("comparisons"))
        if "champion" in (arrays := np.load(store.open("comparisons", name) / "scores.npz", allow_pickle=False))
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
    """Make the outcomes from shares of shape [gains, rules]."""
    return [
        Outcome(rule=rule, test_rows=test_rows, same_rows=same_rows, gain=gain, promoted=float(share))
        for gain, shares in zip(gains, promoted, strict=True)
        for rule, share in zip(RULES, shares, strict=True)
    ]


def outcome_table(outcomes: Sequence[Outcome], *, weeks: int, years: int) -> str:
    """Format a Markdown table: a row for each number of test rows and rule, a column for each true gain."""
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
    """Draw the share of promoted candidates over the true gain: a panel for each rule, a line for each kind of rows."""
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
