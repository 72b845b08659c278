"""What processes do that use a local registry at once; they import little, as each begins anew."""

from ml.errors import RegistryConflict
from ml.registry import CHAMPION_ALIAS
from ml.registry.local import LocalRegistry
from ml.store.files import tree_digest


def race(root, version, start, results):
    registry = LocalRegistry(root)
    expected = registry.resolve(CHAMPION_ALIAS)
    start.wait()
    try:
        registry.move_alias(CHAMPION_ALIAS, version, expected=expected)
        results.put((version, "won"))
    except RegistryConflict:
        results.put((version, "told"))


def register_many(root, folder, start):
    registry = LocalRegistry(root)
    start.wait()
    for artifact in sorted(folder.glob("artifact-*")):
        registry.register(artifact, tree_digest(artifact))
