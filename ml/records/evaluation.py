"""What was measured of the candidate, the champion and the baseline on the same test rows."""

from typing import Annotated

from ml.records.data import Source, UnknownSource
from ml.records.model import ModelVersion, NoChampion, TrainedModel
from ml.records.wire import BY_NAME, record


@record
class Evaluation:
    """One model's figures on one set of test rows, at the model's own threshold. All rates are in [0, 1].

    `weights` is the digest of its SavedModel. `best_f1` is the highest F1 of any threshold on these rows, and
    `best_threshold` where it is. `calibration_slope` is 1 where the scores are as sure as they are right, below where
    they are too sure, and 0 where they are all the same.
    """

    model: str
    weights: str
    test: str
    rows: int
    positives: int
    threshold: float
    precision: float
    recall: float
    f1: float
    best_f1: float
    best_threshold: float
    average_precision: float
    precision_at_recall_50: float
    roc_auc: float
    log_loss: float
    calibration_error: float
    calibration_slope: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


@record
class Contamination:
    """The number of test rows that the champion may have been trained on; both models were measured without them."""

    rows: int


@record
class UnknownContamination:
    """The contamination is unknown: the rows that the champion was trained on are not in this store."""


@record
class Rival:
    """The champion and its evaluation, made in this run on the candidate's test rows."""

    champion: ModelVersion
    evaluation: Evaluation
    contamination: Annotated[Contamination | UnknownContamination, BY_NAME]


@record
class Comparison:
    """Candidate, champion and baseline on the same test rows.

    The baseline is not a neural network; it is trained on the candidate's training rows (see ml/judge/baseline.py).
    `snapshot` is the sha256 of the CSV that the rows come from. `warnings` are the names of the failed expectations
    about the CSV or its splits.
    """

    snapshot: str
    trained: TrainedModel
    candidate: Evaluation
    baseline: Evaluation
    rival: Annotated[Rival | NoChampion, BY_NAME]
    warnings: tuple[str, ...]
    source: Source = UnknownSource()

    @property
    def champion(self) -> ModelVersion | NoChampion:
        """The champion that the candidate was compared with."""
        return self.rival.champion if isinstance(self.rival, Rival) else self.rival


@record
class ChampionFigures:
    """The champion's figures on the test rows of one run."""

    version: str
    rows: int
    precision: float
    recall: float
    average_precision: float


@record
class ChampionUnmeasured:
    """The run measured no champion: there was none, or nothing was evaluated."""


@record
class Interval:
    """The candidate's figure minus the champion's on the same rows, with its lower and its upper one-sided bound."""

    difference: float
    lower: float
    upper: float


@record
class Gains:
    """The candidate's gains over the champion; `confidence` is that of each one-sided bound."""

    confidence: float
    precision: Interval
    recall: Interval
    f1: Interval


@record
class NoGains:
    """The run compared no candidate with a champion."""


COMPARED_FIGURES = (
    "precision",
    "recall",
    "f1",
    "average_precision",
    "precision_at_recall_50",
    "roc_auc",
    "log_loss",
    "calibration_error",
)


@record
class Slice:
    """A group of test rows with a common property; `f1` is the difference in F1 on them."""

    rows: int
    positives: int
    f1: Interval


@record
class RareSlice:
    """A slice with too few positive rows to measure a difference."""

    rows: int
    positives: int
