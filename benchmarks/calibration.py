"""Which scores the guards on calibration stop, of models whose honesty is known: python -m benchmarks.calibration

A row has a logit of which its label is drawn, at 6.19 % positives. An honest model says that logit, or is too sure or
not sure enough by a factor of up to 1.6, as fine-tuned encoders are; the mean of its scores lies within a quarter of
the share of positives. A dishonest one says the same of all rows, or takes an honest one's logits several times.
3,000 models of each kind and size, 300 of the largest; `--models` changes that.
"""

import argparse
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from ml.config import PolicyConfig
from ml.judge.policy.guards import calibration_checks
from ml.metrics import FloatArray, calibration_error, calibration_slope, row_losses

_SIZES = (1_400, 13_000, 130_000)
_POSITIVE_RATE = 0.0619
_SPREADS = (2.0, 3.5)  # standard deviations of the logits: a weak model (ROC AUC about 0.89) and a strong one (0.97)
_ROWS_FOR_CENTRE, _ROWS_FOR_SHIFT = 1_000_000, 5_000
_MOST_TOO_SURE = 1.6

Says = Callable[[FloatArray, np.random.Generator], FloatArray]


def _about_right(logits: FloatArray, random: np.random.Generator) -> FloatArray:
    """Too sure or not sure enough about what is more or less frequent than the rest, by and large right."""
    told = logits * _MOST_TOO_SURE ** random.uniform(-1, 1)
    some, mean = told[:_ROWS_FOR_SHIFT], _POSITIVE_RATE * 1.25 ** random.uniform(-1, 1)
    shift = float(brentq(lambda shift: expit(some + shift).mean() - mean, -30, 30))
    return np.asarray(told + shift)


KINDS: dict[str, Says] = {
    "honest: as sure as right": lambda logits, random: logits,
    "honest: too sure or too unsure by up to 1.6": _about_right,
    "one score for all rows, the share of positives": lambda logits, random: np.full(
        len(logits), np.log(_POSITIVE_RATE / (1 - _POSITIVE_RATE))
    ),
    "one score for all rows, 11 %": lambda logits, random: np.full(len(logits), np.log(0.11 / 0.89)),
    "one score for all rows, 1.2 %, with noise": lambda logits, random: (
        np.log(0.012 / 0.988) + 0.01 * random.standard_normal(len(logits))
    ),
    "logits three times": lambda logits, random: 3 * logits,
    "logits five times": lambda logits, random: 5 * logits,
    "logits five times, of the honest above": lambda logits, random: 5 * _about_right(logits, random),
}


def main(models: int) -> None:
    """Print a table: a row for each kind and size."""
    policy, random = PolicyConfig(), np.random.default_rng(0)
    print("| scores | test rows | stopped | by the error alone | slope: 0.1 % | median | 99.9 % |")
    print("|---|---|---|---|---|---|---|")
    for kind, says in KINDS.items():
        for size in _SIZES:
            drawn = [_judge(says, size, policy, random) for _ in range(models if size < _SIZES[-1] else models // 10)]
            stopped, by_error, slopes = (np.array(column) for column in zip(*drawn, strict=True))
            low, middle, high = np.quantile(slopes, (0.001, 0.5, 0.999))
            print(
                f"| {kind} | {size:,} | {stopped.mean():.2%} | {by_error.mean():.2%}"
                f" | {low:.2f} | {middle:.2f} | {high:.2f} |",
                flush=True,
            )


def _judge(says: Says, size: int, policy: PolicyConfig, random: np.random.Generator) -> tuple[bool, bool, float]:
    """Whether a model of that kind is stopped, whether the calibration error alone would stop it, and its slope."""
    logits = _draw(size, random.choice(_SPREADS), random)
    target = (random.random(size) < expit(logits)).astype(int)
    scores = expit(says(logits, random)).astype(np.float32)
    error, slope = calibration_error(target, scores), calibration_slope(target, scores)
    checks = calibration_checks(
        error=error,
        slope=slope,
        log_loss=float(row_losses(target, scores).mean()),
        positive_share=float(target.mean()),
        policy=policy,
    )
    return not all(check.passed for check in checks), error > policy.max_calibration_error, slope


def _draw(size: int, spread: float, random: np.random.Generator) -> FloatArray:
    return _centre(spread) + spread * random.standard_normal(size)


def _centre(spread: float, known: dict[float, float] = {}) -> float:  # noqa: B006, found once a spread
    if spread not in known:
        noise = spread * np.random.default_rng(0).standard_normal(_ROWS_FOR_CENTRE)
        known[spread] = brentq(lambda centre: expit(centre + noise).mean() - _POSITIVE_RATE, -30, 0)
    return known[spread]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=3000)
    main(parser.parse_args().models)
