import pytest

from ml.errors import ConfigError
from ml.records import NoChampion
from ml.registry import CHAMPION_ALIAS
from ml.registry.local import LocalRegistry
from ml.registry.read_only import ReadOnlyRegistry
from ml.store.files import tree_digest
from tests.contracts.test_registry import DECISION, ENTRY, write_artifact


@pytest.fixture
def registry(tmp_path):
    registry = LocalRegistry(tmp_path / "registry")
    registry.register(*write_artifact(tmp_path, "first"))
    registry.record(ENTRY, DECISION)
    return registry


def test_questions_get_the_answers_of_the_registry_behind(registry):
    read_only = ReadOnlyRegistry(registry)

    assert read_only.resolve("candidate") == registry.resolve("candidate")
    assert read_only.fetch("v1") == registry.fetch("v1")
    assert list(read_only.history()) == [ENTRY]
    assert read_only.find("v1") == registry.find("v1")
    assert read_only.check() == registry.check() != []
    assert read_only.kept_in_store() == registry.kept_in_store()


@pytest.mark.parametrize(
    "write",
    [
        lambda registry, folder: registry.register(*write_artifact(folder, "second")),
        lambda registry, folder: registry.move_alias(CHAMPION_ALIAS, "v1", expected=NoChampion()),
        lambda registry, folder: registry.record(ENTRY, DECISION),
        lambda registry, folder: registry.prune([]),
        lambda registry, folder: registry.turn(),
    ],
    ids=["register", "move_alias", "record", "prune", "turn"],
)
def test_every_write_is_refused(registry, tmp_path, write):
    before = tree_digest(registry.root)

    with pytest.raises(ConfigError, match="a dry run writes nothing"):
        write(ReadOnlyRegistry(registry), tmp_path)

    assert tree_digest(registry.root) == before
