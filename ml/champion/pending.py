"""Pending decisions: the store keeps the records of a run until the registry has carried out the run's decision."""

import json
from dataclasses import replace
from typing import NamedTuple

from ml.config import Config
from ml.config.load import read_settings
from ml.config.redaction import public_settings
from ml.records import Comparison, Decision, Probe, from_json, to_json
from ml.run import Run


class Pending(NamedTuple):
    """The records that `promote` is given, and the settings of its run."""

    comparison: Comparison
    decision: Decision
    probe: Probe
    config: Config


def keep_pending(run: Run, pending: Pending) -> None:
    """Store the records and the redacted settings under the run's id, and replace those of an earlier attempt."""
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
    """Remove the run's pending decision from the store."""
    run.store.drop("pending", run.run_id)


def read_pending(run: Run, run_id: str) -> tuple[Pending, Run]:
    """Read the records and settings of a pending decision, and rebuild the run that made the decision."""
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
