"""The verdict on a candidate: what the policy judged by, and what a person was asked and has answered."""

from typing import Annotated

from ml.records.change import Inputs, NothingWithdrawn, Verdict
from ml.records.data import SourceName, UnknownSource
from ml.records.evaluation import Interval, RareSlice, Slice
from ml.records.model import Champion, ModelVersion
from ml.records.serving import Probe
from ml.records.wire import BY_NAME, record


@record
class RuleCheck:
    """One line of the decision: what was observed, what was required, and whether it passed."""

    rule: str
    observed: str
    required: str
    passed: bool


@record
class PastPromotion:
    """The version that was promoted last, and when (UTC in ISO 8601)."""

    version: str
    time: str


@record
class NoPromotion:
    """The history contains no promotion."""


@record
class Past:
    """What the registry's history said when the decision was made; `time` is that of the probe (UTC in ISO 8601).

    `withdrawn` is a version with the candidate's weights or inputs that a rollback has withdrawn. `after_rollback` is
    true if no promotion followed the last rollback, `forced` if the run was started with `--force`.
    """

    time: str
    last_promotion: Annotated[PastPromotion | NoPromotion, BY_NAME]
    after_rollback: bool
    withdrawn: Annotated[ModelVersion | NothingWithdrawn, BY_NAME]
    forced: bool
    champion_source: Annotated[SourceName | UnknownSource | NoPromotion, BY_NAME] = NoPromotion()


@record
class ApprovalUnneeded:
    """No person is asked: the policy decides alone."""


@record
class ApprovalWanted:
    """A person is to decide, for the reasons in `because`; until one approves, the champion stays.

    The answer may take so many `hours`.
    """

    because: tuple[str, ...]
    hours: float


@record
class Answer:
    """What a person answered: `by` is their name, `decision` the digest of the decision that they were asked about."""

    decision: str
    approved: bool
    by: str
    time: str
    reason: str


@record
class NoAnswer:
    """A person was asked about the decision with this digest, and nobody had answered at `time`."""

    decision: str
    time: str


@record
class Question:
    """What a person is asked about the decision with this digest: a headline, a text in Markdown, `hours` to answer."""

    decision: str
    subject: str
    body: str
    hours: float


Approval = Annotated[ApprovalUnneeded | ApprovalWanted | Answer | NoAnswer, BY_NAME]


@record
class Decision:
    """The verdict on one candidate with its reasons.

    `policy`, `comparison`, `splits`, `test` (the test rows) and `probe` are digests. `triggered_by` says who or what
    started the run. `alarms` says which floors the champion itself misses on these test rows, `remarks` which operating
    points waste F1. `approval` says whether a person is asked, or what one has answered.
    """

    verdict: Verdict
    reason: str
    checks: tuple[RuleCheck, ...]
    policy: str
    candidate: str
    champion: Champion
    comparison: str
    inputs: Inputs
    splits: str
    test: str
    triggered_by: str
    alarms: tuple[str, ...]
    remarks: tuple[str, ...]
    probe: str
    past: Past
    approval: Approval = ApprovalUnneeded()


@record
class Evidence:
    """What the policy judges by, beside the two evaluations: the uncertainty of the differences, the costs, the past.

    `figures` has an interval for each of `COMPARED_FIGURES` that could be measured; `slices` has the result of each
    slice by its name. `mcnemar_p` is the p-value of McNemar's exact test on the rows that only one of the models labels
    correctly.
    """

    confidence: float
    resamples: int
    figures: dict[str, Interval]
    slices: dict[str, Annotated[Slice | RareSlice, BY_NAME]]
    candidate_alone_right: int
    champion_alone_right: int
    mcnemar_p: float
    probe: Probe
    past: Past


@record
class NoEvidence:
    """There is no evidence, because there is no champion to compare the candidate with."""
