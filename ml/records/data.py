"""What is known of the rows: where they come from, what was found in them, and how they were divided."""

from typing import Annotated, Literal

from pydantic import Field

from ml.records.model import NoChampion
from ml.records.wire import BY_NAME, record

Severity = Literal["none", "info", "warning", "critical"]
SplitName = Literal["train", "validation", "test"]


@record
class SourceName:
    """What the source of the rows is called in the settings."""

    name: str


@record
class UnknownSource:
    """The record does not say which source the rows come from: it was written before sources had names."""


Source = Annotated[SourceName | UnknownSource, BY_NAME]


@record
class RawSnapshot:
    """One CSV as it was pulled; `sha256` is that of its bytes, `source` contains no credentials and no local folder.

    `erased_rows` were left out because a person had them erased; then `sha256` is that of the bytes and of which rows
    these were, and the JSON of other snapshots leaves the field out.
    """

    source: str
    sha256: str
    rows: int
    columns: tuple[str, ...]
    bytes: int
    quarantined_rows: int
    erased_rows: int = Field(default=0, exclude_if=lambda rows: rows == 0)


@record
class DataCheck:
    """One expectation and what was observed; `column` is "table" if the expectation is about the whole file."""

    name: str
    column: str
    severity: Severity
    passed: bool
    observed: str


@record
class ChampionSnapshot:
    """The CSV that the champion comes from, by its sha256, is in this store: the snapshot was compared with it."""

    version: str
    snapshot: str


@record
class SnapshotElsewhere:
    """The CSV that the champion comes from is not in this store: what changed since is unknown."""

    version: str
    snapshot: str


@record
class ValidationReport:
    """What Great Expectations found in a snapshot, and in the change since the champion's.

    `checks` has both; those on the change are there only where `since` is a ChampionSnapshot.
    """

    snapshot: str
    since: Annotated[ChampionSnapshot | SnapshotElsewhere | NoChampion, BY_NAME]
    suite: str
    suite_digest: str
    passed: bool
    worst_severity: Severity
    checks: tuple[DataCheck, ...]


@record
class Measured:
    """What an expectation measured, as a number."""

    value: float


@record
class NotMeasured:
    """The expectation compares no number, or could not be checked."""


@record
class ObservedCheck:
    """One expectation in one run, for people; `docs` is the folder of its Data Docs beside the run's reports.

    `note` says what a failure means.
    """

    docs: str
    check: DataCheck
    required: str
    note: str
    value: Annotated[Measured | NotMeasured, BY_NAME]


@record
class DataQuality:
    """What a step's expectations found in one run, passed or not; `snapshot` is the CSV's sha256, `time` UTC."""

    run_id: str
    time: str
    snapshot: str
    rows: int
    checks: tuple[ObservedCheck, ...]


@record
class Split:
    """One part of the data; `digest` is the digest of its stored rows."""

    name: SplitName
    digest: str
    rows: int
    positives: int


@record
class Splits:
    """The parts for training, for the choice of epoch and threshold, and for the test; no text is in two of them.

    Texts are compared after normalisation. `warnings` are the failed expectations about the file and the splits that
    are not critical. The digest leaves out `warnings` and `report`: equal splits have equal digests.
    """

    BESIDE = ("report", "warnings")

    snapshot: str
    report: str
    strategy: Literal["hash", "random"]
    seed: int
    labels: tuple[str, str]
    parts: tuple[Split, Split, Split]
    duplicate_texts: int
    conflicting_texts: int
    warnings: tuple[DataCheck, ...]

    def part(self, name: SplitName) -> Split:
        """Return the part with that name."""
        return next(part for part in self.parts if part.name == name)
