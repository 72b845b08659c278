"""Command `share`: bring a home's store, reports and registry in a folder into the object store of SINCERE_STORE.

The registry's state comes last: until then nobody sees a champion there. What was cut off goes on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast, get_args

from ml.errors import ConfigError
from ml.registry.local import LocalRegistry
from ml.registry.shared import SharedRegistry
from ml.run import Run
from ml.store import Kind, Store
from ml.store.shared.store import OWN


@dataclass(frozen=True, kw_only=True)
class Shared:
    """How many folders, versions and entries of the history are in the object store now."""

    folders: int
    versions: int
    entries: int


def share(run: Run) -> Shared:
    """Bring all there; raises ConfigError without an object store, or if another registry is there."""
    if not isinstance(run.registry, SharedRegistry):
        raise ConfigError(
            "there is no object store to bring the state to", where="SINCERE_STORE", fix="set it to s3://bucket/prefix"
        )
    home = run.reports.parent
    local = LocalRegistry(home / "registry")
    with local.turn(), run.store.lock("keeping", waiting="waiting for another process that cleans up"):
        folders = [run.store.open(kind, name) for kind, name in _stored(Store(home / "store"))]
        run.mirror.send()
        state = local.state()
        there = [version for version in state.versions if version.version not in state.dropped]
        run.registry.adopt(state, {version.model: local.fetch(version.version) for version in there}, local.grounds())
    return Shared(folders=len(folders), versions=len(state.versions), entries=len(state.history))


def _stored(store: Store) -> Iterator[tuple[Kind, str]]:
    for kind in (cast(Kind, each) for each in get_args(Kind) if each not in OWN):
        for name in store.names(kind):
            if kind == "checkpoints":
                yield from ((kind, f"{name}/{step}") for step in store.members(kind, name))
            else:
                yield kind, name
