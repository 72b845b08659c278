"""What the policy judges by, beside the two evaluations: how sure the differences are, what serving costs, the past.

Differences are the candidate's figure minus the champion's, on the same rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan

from ml.records import Circumstances, Interval, Probe, Unrecorded

FIGURES = (
    "precision",
    "recall",
    "f1",
    "average_precision",
    "precision_at_recall_50",
    "roc_auc",
    "log_loss",
    "calibration_error",
)


UNMEASURED = Interval(difference=nan, lower=nan, upper=nan)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The rows that have something in common, and the difference in F1 on them."""

    rows: int
    positives: int
    f1: Interval


@dataclass(frozen=True, kw_only=True)
class RareSlice:
    """A slice with too few positive rows to tell a difference."""

    rows: int
    positives: int


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Intervals by figure (the names of an Evaluation) and slices by name.

    The p-value is of McNemar's exact test on the rows that one model alone labels right.
    """

    confidence: float
    resamples: int
    figures: Mapping[str, Interval]
    slices: Mapping[str, Slice | RareSlice]
    candidate_alone_right: int
    champion_alone_right: int
    mcnemar_p: float
    probe: Probe | Unrecorded = field(default=Unrecorded())
    circumstances: Circumstances | Unrecorded = field(default=Unrecorded())
