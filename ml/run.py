"""The run that a step belongs to: the places that the step may write to, and how the run was started."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.records import Notice, to_json
from ml.registry import Registry
from ml.store import Store
from ml.store.files import write_whole
from ml.store.mirror import ALONE, Mirror

Observer = Callable[[int, Mapping[str, float]], None]
Teller = Callable[[Notice], None]


def unobserved(step: int, figures: Mapping[str, float]) -> None:
    """Ignore the progress of a step."""


def untold(notice: Notice) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Store, registry and reports of one run; `run_id` names the run in records and history.

    `triggered_by` says who or what started the run, `run_url` is the address of its page. The registry of a dry run
    refuses writes. With `force` the run goes on even if nothing has changed, during the cool-down, or if the candidate
    was rolled back. A long step calls `observe` with its progress: the number of steps done, and figures by name.
    What people should hear of the run's end goes to `tell`. `mirror` has what of the reports is elsewhere.
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
    tell: Teller = untold
    mirror: Mirror = ALONE

    @property
    def report_folder(self) -> Path:
        """The folder of this run's reports."""
        return self.reports / self.run_id

    def keep_for_page(self, record: Any, *, name: str = "") -> None:
        """Put a record where the run's page in Airflow's UI finds it: by the name of its kind, or by another."""
        write_whole(self.report_folder / "page" / f"{name or type(record).__name__}.json", to_json(record) + "\n")
