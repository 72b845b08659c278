"""What serving the candidate, and the champion, has cost in a fresh process."""

from typing import Annotated

from ml.records.wire import BY_NAME, record


@record
class ServingCosts:
    """The costs of serving: median seconds for one question and for a batch of 256, peak memory, size of all files."""

    question_seconds: float
    batch_seconds: float
    peak_memory_bytes: int
    artifact_bytes: int


@record
class PairedCosts:
    """The costs of two models that took turns; a ratio is the median, over the rounds, of candidate / champion."""

    candidate: ServingCosts
    champion: ServingCosts
    question_ratio: float
    batch_ratio: float


@record
class UnmeasuredCosts:
    """There is a champion, but the two could not be timed side by side, twice; `reason` says what happened.

    `candidate` has the costs of the candidate alone; `champion_artifact_bytes` is the size of the champion's files.
    """

    reason: str
    candidate: ServingCosts
    champion_artifact_bytes: int


@record
class Probe:
    """How the candidate served in a fresh process: it answered hard questions and scored test rows again.

    `questions` and `rows` are their numbers. `largest_difference` is that of the scores from those of `comparison`, a
    digest. `costs` has the champion's costs too, if there is a champion. `time` is UTC in ISO 8601.
    """

    model: str
    comparison: str
    questions: int
    rows: int
    largest_difference: float
    time: str
    costs: Annotated[PairedCosts | ServingCosts | UnmeasuredCosts, BY_NAME]
