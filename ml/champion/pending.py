"""Decisions that wait for the registry: a run's records, kept in the store until they are carried out."""

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
    """What `promote` is given, and the settings of its run."""

    comparison: Comparison
    decision: Decision
    probe: Probe
    config: Config


def keep_pending(run: Run, pending: Pending) -> None:
    """Keep it under the run's name, with settings as others may see them.

    What an earlier try kept makes way, and its place in the queue stays.
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
    """The run's decision waits no more."""
    run.store.drop("pending", run.run_id)


def is_pending(run: Run) -> bool:
    """Whether the run's decision waits."""
    return run.store.contains("pending", run.run_id)


def pending_runs(store: Store) -> Sequence[str]:
    """The runs whose decisions wait, by their first try, oldest first."""
    places = _places(store)
    return sorted(places, key=lambda run_id: (places[run_id], run_id))


def pending_models(store: Store) -> Collection[str]:
    """The digests of the candidates that wait to be registered."""
    return {model for run_id in _places(store) for model in _candidate(store, run_id)}


def read_pending(run: Run, run_id: str) -> tuple[Pending, Run]:
    """A waiting run's records with its settings, and the run as it was; raises LineageError if they are damaged."""
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
    """One place; the first of all if it cannot be read. None for a folder without run.json, which is none of ours."""
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
