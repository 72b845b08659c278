"""What decides a candidate, and whether a run of the same came to a verdict before."""

from typing import Annotated, Literal

from ml.records.model import Champion, ModelVersion
from ml.records.wire import BY_NAME, record

Verdict = Literal["promote", "inconclusive", "keep", "blocked"]


@record
class NothingWithdrawn:
    """No rollback has withdrawn a version with the candidate's weights or inputs."""


@record
class Inputs:
    """What decides a candidate: the CSV, settings, expectation suites, encoder, libraries and code, as digests.

    And the champion, whose operating point and, in a warm start, whose weights it depends on.
    """

    snapshot: str
    config: str
    suites: str
    encoder: str
    libraries: str
    code: str
    champion: Champion


@record
class Judged:
    """A run of the same inputs that came to a verdict before: its `run_id`, and the version that it judged."""

    run_id: str
    verdict: Verdict
    reason: str
    version: str


@record
class NotJudged:
    """No run of these inputs has come to a verdict that would be the same now."""


@record
class Change:
    """Whether there is work; if `changed` is false, the run ends early with the verdict of the run in `judged`.

    `withdrawn` is a version of the same inputs that was rolled back from.
    """

    changed: bool
    reason: str
    inputs: Inputs
    champion: Champion
    judged: Annotated[Judged | NotJudged, BY_NAME]
    withdrawn: Annotated[ModelVersion | NothingWithdrawn, BY_NAME]
