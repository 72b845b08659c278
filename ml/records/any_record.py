"""Any record that a step hands on, by the kind that it names."""

from typing import cast

from ml.records.change import Change
from ml.records.data import RawSnapshot, Splits, ValidationReport
from ml.records.decision import Answer, Decision, NoAnswer, Question
from ml.records.evaluation import Comparison
from ml.records.keeping import Cleanup
from ml.records.model import Joined, TrainedModel
from ml.records.outcome import Scoring
from ml.records.registry import Promotion, Rollback
from ml.records.serving import Probe
from ml.records.wire import from_json, kind_of

Record = (
    RawSnapshot
    | Change
    | ValidationReport
    | Splits
    | TrainedModel
    | Joined
    | Comparison
    | Decision
    | Probe
    | Promotion
    | Rollback
    | Scoring
    | Answer
    | NoAnswer
    | Question
    | Cleanup
)


def read_any(text: str) -> Record:
    """Read a record of the kind that its own `record` field names."""
    return cast(Record, from_json(text, kind_of(text)))
