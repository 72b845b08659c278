"""Decisions that wait for the registry: a run's records, kept in the store until they are carried out."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ml.config import Config, read_settings
from ml.errors import ConfigError
from ml.model.public import public_settings
from ml.records import Comparison, Decision, Probe, from_json, to_json
from ml.store import Store
from ml.workspace import Workspace


class Pending(NamedTuple):
    """What `promote` is given, and the settings of its run."""

    comparison: Comparison
    decision: Decision
    probe: Probe
    config: Config


def keep_pending(workspace: Workspace, pending: Pending) -> None:
    """Keep it under the run's name, with settings as others may see them; what an earlier try kept makes way."""
    run = {
        "triggered_by": workspace.triggered_by,
        "url": workspace.run_url,
        "forced": workspace.force,
        "settings": public_settings(pending.config),
    }
    records = {"comparison": pending.comparison, "decision": pending.decision, "probe": pending.probe}
    texts = {f"{name}.json": to_json(record) for name, record in records.items()}
    workspace.store.put("pending", workspace.run_id, {**texts, "run.json": json.dumps(run)})


def forget_pending(workspace: Workspace) -> None:
    """The run's decision waits no more."""
    workspace.store.drop("pending", workspace.run_id)


def pending_runs(store: Store) -> Sequence[str]:
    """The runs whose decisions wait, oldest first."""
    folders = sorted(store.root.glob("pending/*"), key=lambda folder: folder.stat().st_mtime_ns)
    return [folder.name for folder in folders]


def read_pending(config: Config, workspace: Workspace, run_id: str) -> tuple[Pending, Workspace]:
    """A waiting run's records, and the workspace as it had it.

    Earlier versions of this code kept neither settings nor the run's address: then they are those given here.
    """
    folder = workspace.store.open("pending", run_id)
    texts = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    decision = from_json(texts["decision"], Decision)
    run = json.loads(texts.get("run", "{}"))
    own = replace(
        workspace,
        run_id=run_id,
        triggered_by=run.get("triggered_by", decision.triggered_by),
        run_url=run.get("url", workspace.run_url),
        force=run.get("forced", workspace.force),
    )
    pending = Pending(
        comparison=from_json(texts["comparison"], Comparison),
        decision=decision,
        probe=from_json(texts["probe"], Probe),
        config=_settings(run, config),
    )
    return pending, own


def _settings(run: dict[str, Any], otherwise: Config) -> Config:
    """The run's own, if this code still knows all of their keys."""
    try:
        return read_settings(run["settings"])
    except (KeyError, ConfigError):
        return otherwise
