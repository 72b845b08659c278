"""Decisions that wait for the registry: a run's records, kept in the store until they are carried out."""

import json
from dataclasses import replace
from typing import Any, NamedTuple

from ml.config import Config, read_settings
from ml.config.redaction import public_settings
from ml.errors import ConfigError
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


def read_pending(config: Config, run: Run, run_id: str) -> tuple[Pending, Run]:
    """A waiting run's records, and the run as it had it.

    Earlier versions of this code kept neither settings nor the run's address: then they are those given here.
    """
    folder = run.store.open("pending", run_id)
    texts = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    decision = from_json(texts["decision"], Decision)
    kept = json.loads(texts.get("run", "{}"))
    own = replace(
        run,
        run_id=run_id,
        triggered_by=kept.get("triggered_by", decision.triggered_by),
        run_url=kept.get("url", run.run_url),
        force=kept.get("forced", run.force),
    )
    pending = Pending(
        comparison=from_json(texts["comparison"], Comparison),
        decision=decision,
        probe=from_json(texts["probe"], Probe),
        config=_settings(kept, config),
    )
    return pending, own


def _settings(kept: dict[str, Any], otherwise: Config) -> Config:
    """The run's own, if this code still knows all of their keys."""
    try:
        return read_settings(kept["settings"])
    except (KeyError, ConfigError):
        return otherwise
