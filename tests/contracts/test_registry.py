"""The contract of every registry: the same tests run on the local registry, in an object store and on W&B.

To run them on a real W&B account, where they leave models named contract-…:
    SINCERE_WANDB_LIVE=entity/project WANDB_API_KEY=… python -m pytest -m wandb_live tests/contracts
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from ml.errors import LineageError, RegistryConflict, RegistryDamaged
from ml.records import ModelVersion, NoChampion, digest
from ml.registry import CANDIDATE_ALIAS, CHAMPION_ALIAS, Registry
from ml.registry.local import LocalRegistry
from ml.registry.open import open_registry
from ml.registry.shared import SharedRegistry
from ml.store import Store
from ml.store.files import tree_digest
from ml.store.open import open_store
from tests.judge.examples import FIRST_ENTRY, compare, judged
from tests.places import ADDRESSES
from tests.state_server import change_state
from tests.wandb_server.state import ENTITY, Place

DECISION = judged(compare("a" * 64, NoChampion()))
ENTRY = replace(FIRST_ENTRY, reason=DECISION.reason, decision=digest(DECISION))


def open_local(request, folder: Path) -> Registry:
    return open_registry(f"file:{folder / 'registry'}", Store(folder / "store"))


def open_wandb(request, folder: Path) -> Registry:
    request.getfixturevalue("wandb_server")
    return open_registry("wandb://acme/quora/insincere", Store(folder / "store"))


def open_shared(request, folder: Path) -> Registry:
    request.getfixturevalue("state_server")
    address = ADDRESSES["s3"]
    return open_registry(address, open_store({"SINCERE_STORE": address}, folder))


def open_live(request, folder: Path) -> Registry:
    project = os.environ["SINCERE_WANDB_LIVE"]
    return open_registry(f"wandb://{project}/contract-{uuid4().hex}", Store(folder / "store"))


@pytest.fixture(
    params=[open_local, open_shared, open_wandb, pytest.param(open_live, marks=pytest.mark.wandb_live)],
    ids=["local", "shared", "wandb", "live"],
)
def registry(request, tmp_path):
    return request.param(request, tmp_path)


def write_artifact(folder: Path, content: str) -> tuple[Path, str]:
    """Write a model of two files, and return its folder and its digest."""
    artifact = folder / f"artifact-{content}"
    (artifact / "saved_model").mkdir(parents=True)
    (artifact / "saved_model" / "weights").write_text(content, encoding="utf-8")
    (artifact / "model.json").write_text("{}", encoding="utf-8")
    return artifact, tree_digest(artifact)


@pytest.fixture
def first(registry, tmp_path):
    return registry.register(*write_artifact(tmp_path, "first"))


@pytest.fixture
def second(registry, first, tmp_path):
    return registry.register(*write_artifact(tmp_path, "second"))


def test_an_alias_of_a_new_registry_is_proven_absent(registry):
    assert registry.resolve(CHAMPION_ALIAS) == NoChampion()


def test_a_registered_model_comes_back_byte_for_byte(registry, tmp_path):
    artifact, model = write_artifact(tmp_path, "first")

    version = registry.register(artifact, model)

    assert version.model == model
    assert (registry.fetch(version.version) / "saved_model" / "weights").read_text() == "first"
    assert tree_digest(registry.fetch(version.version)) == model


def test_the_newest_registered_model_is_the_candidate_and_not_the_champion(registry, first, second):
    assert registry.resolve(CANDIDATE_ALIAS) == second
    assert registry.resolve(CHAMPION_ALIAS) == NoChampion()


def test_the_same_model_again_is_the_same_version(registry, first, second, tmp_path):
    again = registry.register(tmp_path / "artifact-first", first.model)

    assert again == first
    assert second.version != first.version
    assert registry.resolve(CANDIDATE_ALIAS) == first


def test_files_that_are_not_the_named_model_are_refused(registry, tmp_path):
    artifact, _ = write_artifact(tmp_path, "first")

    with pytest.raises(LineageError, match="not those that the record names"):
        registry.register(artifact, "0" * 64)

    assert registry.resolve(CANDIDATE_ALIAS) == NoChampion()


def test_an_alias_moves_from_where_it_is_expected(registry, first, second):
    registry.move_alias(CHAMPION_ALIAS, first.version, expected=NoChampion())
    registry.move_alias(CHAMPION_ALIAS, second.version, expected=first)

    assert registry.resolve(CHAMPION_ALIAS) == second


@pytest.mark.parametrize("expected", [NoChampion(), ModelVersion(version="v1", model="0" * 64)])
def test_an_alias_that_is_not_where_it_is_expected_stays(registry, first, second, expected):
    registry.move_alias(CHAMPION_ALIAS, first.version, expected=NoChampion())

    with pytest.raises(RegistryConflict, match=f"points at {first.version}"):
        registry.move_alias(CHAMPION_ALIAS, second.version, expected=expected)

    assert registry.resolve(CHAMPION_ALIAS) == first


def test_moving_an_alias_where_it_is_already_changes_nothing(registry, first):
    registry.move_alias(CHAMPION_ALIAS, first.version, expected=NoChampion())
    registry.move_alias(CHAMPION_ALIAS, first.version, expected=NoChampion())

    assert registry.resolve(CHAMPION_ALIAS) == first


@pytest.mark.parametrize("version", ["v9", "../v1", "production", ""])
def test_an_unknown_version_can_neither_be_fetched_nor_aliased(registry, first, version):
    with pytest.raises(LineageError, match="there is no version"):
        registry.fetch(version)
    with pytest.raises(LineageError, match="there is no version"):
        registry.move_alias(CHAMPION_ALIAS, version, expected=NoChampion())


def test_the_history_gives_back_what_was_recorded_oldest_first(registry, first):
    registry.move_alias(CHAMPION_ALIAS, first.version, expected=NoChampion())
    later = replace(ENTRY, run_id="run-2", previous=first)

    registry.record(ENTRY, DECISION)
    registry.record(later, DECISION)

    assert list(registry.history()) == [ENTRY, later]


def test_a_decision_of_a_run_is_recorded_once(registry, first):
    registry.move_alias(CHAMPION_ALIAS, first.version, expected=NoChampion())
    registry.record(ENTRY, DECISION)
    registry.record(replace(ENTRY, time="2026-01-05T00:00:00+00:00"), DECISION)

    assert list(registry.history()) == [ENTRY]


def test_a_new_registry_has_no_history(registry):
    assert list(registry.history()) == []


@pytest.fixture
def third(registry, second, tmp_path):
    return registry.register(*write_artifact(tmp_path, "third"))


def test_versions_that_are_neither_kept_nor_aliased_are_dropped(registry, first, second, third):
    assert list(registry.prune([first.version])) == [second]

    assert tree_digest(registry.fetch(first.version)) == first.model
    assert tree_digest(registry.fetch(third.version)) == third.model
    with pytest.raises(LineageError, match="retention dropped them"):
        registry.fetch(second.version)


def test_a_dropped_version_is_named_again_by_the_next_pruning(registry, first, second):
    registry.prune([])

    assert list(registry.prune([])) == [first]


def test_the_name_of_a_dropped_version_is_never_given_to_another_model(registry, first, second, tmp_path):
    registry.register(tmp_path / "artifact-first", first.model)
    registry.prune([])

    another = registry.register(*write_artifact(tmp_path, "another"))

    assert another.version not in (first.version, second.version)


def test_a_dropped_model_that_comes_again_is_whole_again_under_its_name(registry, first, second, tmp_path):
    registry.prune([])

    again = registry.register(tmp_path / "artifact-first", first.model)

    assert again == first
    assert tree_digest(registry.fetch(first.version)) == first.model


def test_a_version_is_found_by_name_though_its_files_are_gone(registry, first, second):
    registry.prune([])

    assert registry.find(first.version) == first
    with pytest.raises(LineageError, match="there is no version v9"):
        registry.find("v9")


def test_a_model_is_kept_by_its_digest_too(registry, first, second, third):
    assert list(registry.prune([first.model])) == [second]


def test_a_run_concludes_once_whatever_it_decides_later(registry, first):
    registry.move_alias(CHAMPION_ALIAS, first.version, expected=NoChampion())
    registry.record(ENTRY, DECISION)
    registry.record(replace(ENTRY, verdict="keep", promoted=False, decision="e" * 64), DECISION)

    assert list(registry.history()) == [ENTRY]


@pytest.fixture
def champion(registry, first):
    """The first version is champion by alias and history."""
    registry.move_alias(CHAMPION_ALIAS, first.version, expected=NoChampion())
    registry.record(replace(ENTRY, version=first.version), DECISION)
    return first


def test_a_registry_whose_parts_agree_is_whole(registry, champion, second):
    registry.prune([])

    assert registry.check() == []


def lose_alias(registry, request):
    if isinstance(registry, LocalRegistry):
        aliases = registry.root / "aliases.json"
        aliases.write_bytes(aliases.read_bytes().replace(b"production", b"productiom"))
    elif isinstance(registry, SharedRegistry):
        change_state(request.getfixturevalue("state_server"), b"production", b"productiom")
    else:
        state = request.getfixturevalue("wandb_server").state
        state.remove(Place(ENTITY, "quora", "insincere"), CHAMPION_ALIAS, state.version("insincere", CHAMPION_ALIAS))


def lose_first_entry(registry, request):
    if isinstance(registry, LocalRegistry):
        history = registry.root / "history.jsonl"
        history.write_bytes(history.read_bytes().partition(b"\n")[2])
    elif isinstance(registry, SharedRegistry):
        change_state(request.getfixturevalue("state_server"), b'"run_id":"run-1"', b'"run_id":"run-9"')
    else:
        request.getfixturevalue("wandb_server").state.version("insincere-history", "v0").state = "DELETED"


def lose_last_entry(registry, request):
    if isinstance(registry, LocalRegistry):
        history = registry.root / "history.jsonl"
        history.write_bytes(history.read_bytes().partition(b"\n")[0] + b"\n")
    elif isinstance(registry, SharedRegistry):
        request.getfixturevalue("state_server").lose_last("registry/states/", ".json")
    else:
        request.getfixturevalue("wandb_server").state.version("insincere-history", "v1").state = "DELETED"


def lose_history(registry, request):
    if isinstance(registry, LocalRegistry):
        (registry.root / "history.jsonl").unlink()
    elif isinstance(registry, SharedRegistry):
        request.getfixturevalue("state_server").lose_all("registry/states/")
    else:
        for version in ("v0", "v1"):
            request.getfixturevalue("wandb_server").state.version("insincere-history", version).state = "DELETED"


def edit_entry(registry, request):
    if isinstance(registry, LocalRegistry):
        history = registry.root / "history.jsonl"
        history.write_bytes(history.read_bytes().replace(b'"verdict":"keep"', b'"verdict":"blocked"'))
    elif isinstance(registry, SharedRegistry):
        change_state(request.getfixturevalue("state_server"), b'"verdict":"keep"', b'"verdict":"blocked"')
    else:
        entry = request.getfixturevalue("wandb_server").state.version("insincere-history", "v1")
        entry.metadata = entry.metadata.replace('"verdict\\":\\"keep', '"verdict\\":\\"blocked')


@pytest.fixture(params=[lose_alias, lose_first_entry, lose_last_entry, lose_history, edit_entry])
def forgetful(request, registry, champion, second):
    """A registry with two entries that has lost one of them, or the alias."""
    if request.node.callspec.params["registry"] is open_live:
        pytest.skip("nothing is taken from a real account")
    kept = replace(ENTRY, run_id="run-2", verdict="keep", promoted=False, previous=champion, version=second.version)
    registry.record(kept, DECISION)
    request.param(registry, request)
    return registry


def test_what_is_lost_stops_every_write_and_is_listed(forgetful, first, second, tmp_path):
    writes = [
        lambda: forgetful.register(*write_artifact(tmp_path, "another")),
        lambda: forgetful.move_alias(CHAMPION_ALIAS, second.version, expected=first),
        lambda: forgetful.prune([]),
        lambda: forgetful.record(replace(ENTRY, run_id="run-3"), DECISION),
        lambda: forgetful.resolve(CHAMPION_ALIAS),
    ]

    for write in writes:
        with pytest.raises(RegistryDamaged):
            write()

    assert forgetful.check() != []


def test_only_one_at_a_time_has_its_turn(registry, first):
    with ThreadPoolExecutor(1) as threads:
        with registry.turn():
            other = threads.submit(lambda: registry.turn().__enter__())
            with pytest.raises(TimeoutError):
                other.result(timeout=0.2)
        other.result(timeout=60)
