"""Decisions that wait for the registry: a run's records, kept in the store until they are carried out."""

from collections.abc import Sequence
from typing import NamedTuple

from ml.records import Comparison, Decision, Probe, from_json, to_json
from ml.store import Store
from ml.workspace import Workspace


class Pending(NamedTuple):
    """What `promote` is given."""

    comparison: Comparison
    decision: Decision
    probe: Probe


def keep_pending(workspace: Workspace, pending: Pending) -> None:
    """Keep the records under the run's name; those of an earlier try of the same run make way."""
    workspace.store.drop("pending", workspace.run_id)
    with workspace.store.staging() as folder:
        for name, record in pending._asdict().items():
            (folder / f"{name}.json").write_text(to_json(record), encoding="utf-8")
        workspace.store.commit(folder, "pending", workspace.run_id)


def forget_pending(workspace: Workspace) -> None:
    """The run's decision waits no more."""
    workspace.store.drop("pending", workspace.run_id)


def pending_runs(store: Store) -> Sequence[str]:
    """The runs whose decisions wait, oldest first."""
    folders = sorted(store.root.glob("pending/*"), key=lambda folder: folder.stat().st_mtime_ns)
    return [folder.name for folder in folders]


def read_pending(store: Store, run_id: str) -> Pending:
    """A waiting run's records."""
    folder = store.open("pending", run_id)
    comparison, decision, probe = ((folder / f"{name}.json").read_text(encoding="utf-8") for name in Pending._fields)
    return Pending(from_json(comparison, Comparison), from_json(decision, Decision), from_json(probe, Probe))
