"""Decisions that wait for the registry: a run's records, kept in the store until they are carried out."""

import json
from dataclasses import replace
from typing import NamedTuple

from ml.config import Config
from ml.config.load import read_settings
from ml.config.redaction import public_settings
from ml.records import Comparison, Decision, Probe, from_json, to_json
from ml.run import Run


class Pending(NamedTuple):
    """What `promote` is given, and the settings of its run."""

    comparison: Comparison
    decision: Decision
    probe: Probe
    config: Config


def keep_pending(run: Run, pending: Pending) -> None:
    """Keep it under the run's name, with settings as others may see them; what an earlier try kept makes way."""
    kept = {
        "triggered_by": run.triggered_by,
        "url": run.run_url,
        "forced": run.force,
        "settings": public_settings(pending.config),
    }
    records = {"comparison": pending.comparison, "decision": pending.decision, "probe": pending.probe}
    texts = {f"{name}.json": to_json(record) for name, record in records.items()}
    run.store.put("pending", run.run_id, {**texts, "run.json": json.dumps(kept)})


def forget_pending(run: Run) -> None:
    """The run's decision waits no more."""
    run.store.drop("pending", run.run_id)


def read_pending(run: Run, run_id: str) -> tuple[Pending, Run]:
    """A waiting run's records with its settings, and the run as it was."""
    folder = run.store.open("pending", run_id)
    texts = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    kept = json.loads(texts["run"])
    pending = Pending(
        comparison=from_json(texts["comparison"], Comparison),
        decision=from_json(texts["decision"], Decision),
        probe=from_json(texts["probe"], Probe),
        config=read_settings(kept["settings"]),
    )
    own = replace(run, run_id=run_id, triggered_by=kept["triggered_by"], run_url=kept["url"], force=kept["forced"])
    return pending, own
