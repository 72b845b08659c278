"""Pending decisions: the store keeps the records of a run until the registry has carried out the run's decision."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from ml.config import Config
from ml.config.load import read_settings
from ml.config.redaction import public_settings
from ml.errors import LineageError
from ml.records import Comparison, Decision, Probe, from_json, to_json
from ml.run import Run
from ml.store import Store

_FILES = ("comparison", "decision", "probe", "run")


class Pending(NamedTuple):
    """The records that `promote` is given, and the settings of its run."""

    comparison: Comparison
    decision: Decision
    probe: Probe
    config: Config


def keep_pending(run: Run, pending: Pending) -> None:
    """Store the records and the redacted settings under the run's id.

    They replace those of an earlier attempt, and keep its place in the queue.
    """
    kept = {
        "triggered_by": run.triggered_by,
        "url": run.run_url,
        "forced": run.force,
        "settings": public_settings(pending.config),
        "place": _place(run),
    }
    records = {"comparison": pending.comparison, "decision": pending.decision, "probe": pending.probe}
    texts = {f"{name}.json": to_json(record) for name, record in records.items()}
    run.store.put("pending", run.run_id, {**texts, "run.json": json.dumps(kept)})


def forget_pending(run: Run) -> None:
    """Remove the run's pending decision from the store."""
    run.store.drop("pending", run.run_id)


def pending_runs(store: Store) -> Sequence[str]:
    """Return the runs with pending decisions in the order of their first attempts."""
    places = _places(store)
    return sorted(places, key=lambda run_id: (places[run_id], run_id))


def pending_models(store: Store) -> Collection[str]:
    """Return the digests of the candidates of pending decisions."""
    return {model for run_id in _places(store) for model in _candidate(store, run_id)}


def read_pending(run: Run, run_id: str) -> tuple[Pending, Run]:
    """Read a pending decision with its records and settings, and rebuild its run; raises LineageError for damage."""
    folder = run.store.open("pending", run_id)
    try:
        texts = {name: (folder / f"{name}.json").read_text(encoding="utf-8") for name in _FILES}
        kept = json.loads(texts["run"])
        own = replace(run, run_id=run_id, triggered_by=kept["triggered_by"], run_url=kept["url"], force=kept["forced"])
        settings = kept["settings"]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        raise LineageError(
            "what is kept of a pending promotion cannot be read",
            where=f"store/pending, run {run_id}",
            fix="start a new run",
        ) from None
    pending = Pending(
        comparison=from_json(texts["comparison"], Comparison),
        decision=from_json(texts["decision"], Decision),
        probe=from_json(texts["probe"], Probe),
        config=read_settings(settings),
    )
    return pending, own


def _place(run: Run) -> int:
    places = _places(run.store)
    return places.get(run.run_id, max(places.values(), default=0) + 1)


def _places(store: Store) -> dict[str, int]:
    return {run_id: place for run_id in store.names("pending") for place in _read_place(store, run_id)}


def _read_place(store: Store, run_id: str) -> Iterator[int]:
    """Yield the place, or 0 if it cannot be read; yield nothing for a folder without run.json, which is not ours."""
    try:
        text = (store.open("pending", run_id) / "run.json").read_bytes()
    except (LineageError, FileNotFoundError):
        return
    try:
        yield int(json.loads(text)["place"])
    except (ValueError, TypeError, KeyError):
        yield 0


def _candidate(store: Store, run_id: str) -> Iterator[str]:
    try:
        text = (store.open("pending", run_id) / "decision.json").read_text(encoding="utf-8")
        yield from_json(text, Decision).candidate
    except (FileNotFoundError, UnicodeDecodeError, LineageError):
        return
