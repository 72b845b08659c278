"""The places that a step may write to, handed to it by whoever runs it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ml.registry import Registry
from ml.store import Store

Observer = Callable[[int, Mapping[str, float]], None]


def unobserved(step: int, figures: Mapping[str, float]) -> None:
    """Nobody looks on."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Store, registry and this run's folder of reports; `run_id` names the run in records and history.

    `triggered_by` says who or what started it, `run_url` where a person sees it. A dry run is given a registry that it
    cannot write to; `force` means to go on though nothing has changed, the cool-down is not over, or the candidate was
    rolled back from. Long work tells `observe` how it goes: so many steps made, and figures by name.
    """

    store: Store
    registry: Registry
    reports: Path
    run_id: str
    triggered_by: str = "command line"
    run_url: str = "none"
    dry_run: bool = False
    force: bool = False
    observe: Observer = unobserved

    @property
    def report_folder(self) -> Path:
        """Where this run's reports go."""
        return self.reports / self.run_id
