"""What of the reports is in an object store: nothing, unless SINCERE_STORE names one."""

from collections.abc import Mapping
from pathlib import Path

from ml.store import Measured


class Mirror:
    """The reports of this home are all that there are."""

    def fetch(self, run_id: str) -> None:
        """Have the reports of a run in this home."""

    def fetch_all(self, *, records_alone: bool) -> None:
        """Have the reports of all runs in this home, or what steps kept of them for pages and for the history."""

    def fetch_newest(self, file: str) -> None:
        """Have the file of this name of the run that wrote last, of those that have one."""

    def send(self) -> None:
        """Send what was written since it was sent last."""

    def measured(self, run_id: str, here: Measured) -> Measured:
        """Return how large the reports of a run are, and when they were written last, which are so in this home."""
        return here

    def drop(self, run_id: str) -> None:
        """Remove the reports of a run that are not in this home."""

    def tidy(self) -> None:
        """Remove from this home the reports that other hosts have dropped."""


ALONE = Mirror()


def open_mirror(environment: Mapping[str, str], home: Path) -> Mirror:
    """Return the mirror of a home's reports; raises ConfigError if SINCERE_STORE is no address."""
    if address := environment.get("SINCERE_STORE"):
        from ml.store.shared.bucket import Bucket
        from ml.store.shared.folders import Folders
        from ml.store.shared.reports import SharedReports

        return SharedReports(home, Folders(Bucket(address)))
    return ALONE
