"""A run as a step left it on disk, and what W&B lacks of it.

W&B's own command takes a run for sent though artifacts or figures were refused. So what W&B must have in the end is
kept beside the recording, and W&B is asked for it before the recording goes.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ml.tracking.report import PromotionReport

CONNECT_SECONDS = 10
ARRIVAL_SECONDS = 10
_POLL_SECONDS = 1


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What W&B must have of a run: artifacts by name, that it used or logged, and figures to the end.

    Of one that did not come to its end, nothing is expected but that it is there.
    """

    id: str
    name: str
    entity: str
    project: str
    used: Sequence[str] = ()
    logged: Sequence[str] = ()
    ended: bool = False


class RecordedRun:
    """The run in a folder of W&B's client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._expected = folder / "expected.json"
        self._report = folder / "report.json"

    @property
    def began(self) -> bool:
        """Whether there is anything to be sent."""
        return any(recording.stat().st_size for recording in self.folder.glob("*.wandb"))

    @property
    def is_sent(self) -> bool:
        """Whether the client says so."""
        return any(self.folder.glob("*.wandb.synced"))

    @property
    def name(self) -> str:
        """What people know it by."""
        return self._read_expected().name if self._expected.exists() else "of an earlier version of this code"

    def expect(self, expected: Expected) -> None:
        """Keep what W&B must have."""
        _write_whole(self._expected, json.dumps(asdict(expected)))

    def ask_for(self, report: PromotionReport) -> None:
        """Keep what a report is to be written of, once W&B has the run."""
        _write_whole(self._report, report.to_json())

    def missing(self) -> Sequence[str]:
        """What W&B lacks, in words, after some time to take it in; raises the client's errors if it does not answer."""
        if not self._expected.exists():  # it was recorded by an earlier version of this code
            return [] if self.is_sent else ["all"]
        until = time.monotonic() + ARRIVAL_SECONDS
        while (missing := list(_lacking(self._read_expected()))) and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        return missing

    def write_report(self) -> None:
        """Write the report that was asked for, unless W&B has it; raises the client's errors."""
        with suppress(FileNotFoundError):
            PromotionReport.from_json(self._report.read_text(encoding="utf-8")).write_once()

    def _read_expected(self) -> Expected:
        return Expected(**json.loads(self._expected.read_text(encoding="utf-8")))


def _lacking(expected: Expected) -> Iterator[str]:
    import wandb

    api = wandb.Api(timeout=CONNECT_SECONDS)
    try:
        run = api.run(f"{expected.entity or api.default_entity}/{expected.project}/{expected.id}")
    except wandb.errors.CommError as error:
        if "Could not find run" not in str(error):
            raise
        yield "all"
        return
    if expected.ended and run.state not in ("finished", "failed"):
        yield "the end of its figures"
    for name in sorted(set(expected.logged) - _names(run.logged_artifacts())):
        yield f"the artifact {name}"
    for name in sorted(set(expected.used) - _names(run.used_artifacts())):
        yield f"its input {name}"


def _names(artifacts: Any) -> set[str]:
    return {artifact.name.partition(":")[0] for artifact in artifacts}


def _write_whole(path: Path, text: str) -> None:
    beside = path.with_name(f"{path.name}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
