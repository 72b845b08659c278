"""Runs in temporary folders, and configs for a handful of rows."""

from pathlib import Path

from ml.config import Config
from ml.config.load import load_config
from ml.registry.open import open_registry
from ml.run import Run
from ml.store import Store
from ml.store.mirror import open_mirror
from ml.store.open import open_store

ADDRESSES = {scheme: f"{scheme}://states/team/sincere" for scheme in ("s3", "gs")}

SMALL = ("validate.parameters.min_rows=10", "validate.parameters.label_balance_max=0.6")


def open_run(home: Path) -> Run:
    return Run(
        store=Store(home / "store"),
        registry=open_registry(f"file:{home / 'registry'}", Store(home / "store")),
        reports=home / "reports",
        run_id="run-1",
    )


def open_shared_run(home: Path, run_id: str = "run-1", address: str = ADDRESSES["s3"]) -> Run:
    """Open a run of a home whose state is in the tests' object store."""
    environment = {"SINCERE_STORE": address}
    store = open_store(environment, home)
    return Run(
        store=store,
        registry=open_registry(address, store),
        reports=home / "reports",
        run_id=run_id,
        mirror=open_mirror(environment, home),
    )


def config(uri: object, *overrides: str) -> Config:
    return load_config("local", [f'source.uri="{uri}"', *overrides])


def store_is_empty(home: Path) -> bool:
    """Tell whether the store has neither a snapshot nor a half-written file."""
    store = home / "store"
    return not list((store / "snapshots").glob("*")) and not list((store / "staging").glob("*/*"))
