"""What is kept in stores, what was erased there, and what was cleaned up."""

from ml.records.wire import record


@record
class Erasure:
    """What a person has had erased, at `time` (UTC): `ids` are hashes of the rows' ids under `salt`, in hex."""

    time: str
    salt: str
    ids: tuple[str, ...]


@record
class ErasedRows:
    """So many rows of a stored folder were erased, at these times (UTC)."""

    rows: int
    times: tuple[str, ...]


@record
class NothingErased:
    """No row of the stored folder was erased."""


@record
class Part:
    """A part of a file, of so many bytes."""

    sha256: str
    bytes: int


@record
class StoredFolder:
    """A folder in an object store: its files by their paths below it, each with its parts in their order."""

    files: dict[str, tuple[Part, ...]]


@record
class SyncedFile:
    """A file as an object store had it, and as it lay on disk then: `modified` in ns since 1970."""

    parts: tuple[Part, ...]
    modified: int
    bytes: int


@record
class SyncedReports:
    """What of a run's reports a home has sent or fetched, by path; `time` is when the store's were written, if known.

    It is 0 if it is not known.
    """

    files: dict[str, SyncedFile]
    time: float


@record
class Removed:
    """How many folders or files of a kind were removed, and how many stay, with their bytes."""

    kind: str
    number: int
    bytes: int
    kept: int
    kept_bytes: int


@record
class Cleanup:
    """What a clean-up has removed or, as a dry run, would remove, by kind."""

    dry_run: bool
    removed: tuple[Removed, ...]
