"""What people may look at while and after a step runs: in Weights & Biases, or nowhere, which is the default.

Tracking decides nothing and is never in the way: trouble with it is one warning, and the step goes on.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from ml.config import Config
from ml.errors import ConfigError
from ml.records import Record
from ml.run import Run


class TrackedStep(Protocol):
    """One step while it runs."""

    def observe(self, step: int, figures: Mapping[str, float]) -> None:
        """Show how the work goes after so many steps of training."""
        ...

    def conclude(self, record: Record) -> None:
        """Show what came of it."""
        ...


class Tracker(Protocol):
    """Shows steps to people."""

    def track(
        self, step: str, config: Config, pipeline_run: Run, taken: Sequence[Record]
    ) -> AbstractContextManager[TrackedStep]:
        """The step for as long as it runs; one that raises is shown as failed."""
        ...


class NoTracker:
    """Shows nothing; also what a step is that nobody is shown."""

    @contextmanager
    def track(self, step: str, config: Config, pipeline_run: Run, taken: Sequence[Record]) -> Iterator[TrackedStep]:
        """The step, unseen."""
        yield self

    def observe(self, step: int, figures: Mapping[str, float]) -> None:
        """Nothing."""

    def conclude(self, record: Record) -> None:
        """Nothing."""


def open_tracker(environment: Mapping[str, str], home: Path) -> Tracker:
    """W&B if its own variables ask for it: WANDB_MODE, or else a WANDB_API_KEY; raises ConfigError for another mode.

    Runs that W&B does not have yet are kept below `home`/wandb.
    """
    mode = environment.get("WANDB_MODE") or ("online" if environment.get("WANDB_API_KEY") else "disabled")
    if mode == "disabled":
        return NoTracker()
    if mode not in ("online", "offline"):
        raise ConfigError(f"there is no mode {mode!r}", where="WANDB_MODE", fix="use online, offline or disabled")
    from ml.tracking.runs import WandbTracker

    return WandbTracker(home, environment, offline=mode == "offline")
