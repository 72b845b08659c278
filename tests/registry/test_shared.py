"""A registry in an object store: two hosts, lost answers, a store that refuses or forgets, changed files."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ml.champion.promote import promote
from ml.champion.retention import mark_underway
from ml.config import Config, RetentionConfig
from ml.errors import (
    ConfigError,
    LineageError,
    PromotionPending,
    RegistryConflict,
    RegistryDamaged,
    RegistryRefused,
    RegistryUnavailable,
)
from ml.records import NoChampion
from ml.registry import CHAMPION_ALIAS
from ml.registry.open import open_registry
from ml.registry.shared import SharedRegistry
from ml.registry.states import States
from ml.store import Store
from ml.store.files import tree_digest
from ml.store.shared import bucket
from tests.contracts.test_registry import DECISION, ENTRY, write_artifact
from tests.judge.examples import compare_next, judged, probed
from tests.places import ADDRESSES, open_shared_run
from tests.state_server import ROOT, change_state


@pytest.fixture
def here(state_server, tmp_path):
    return open_shared_run(tmp_path / "here", "here")


@pytest.fixture
def there(state_server, tmp_path):
    return open_shared_run(tmp_path / "there", "there")


@pytest.fixture
def champion(here, tmp_path):
    version = here.registry.register(*write_artifact(tmp_path, "first"))
    here.registry.move_alias(CHAMPION_ALIAS, version.version, expected=NoChampion())
    here.registry.record(ENTRY, DECISION)
    return version


def go(run, comparison, predecessors=3):
    config = Config(retention=RetentionConfig(predecessors=predecessors))
    return promote(config, run, comparison, judged(comparison), probed(comparison))


def test_another_host_has_the_champion_with_its_files_and_its_history(champion, there):
    assert there.registry.resolve(CHAMPION_ALIAS) == champion
    assert tree_digest(there.registry.fetch(champion.version)) == champion.model
    assert list(there.registry.history()) == [ENTRY]
    assert there.registry.check() == []


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(here, there, state_server):
    runs = [here, there]
    comparisons = [compare_next(run, run.run_id) for run in runs]

    def go_told(run, comparison):
        try:
            return go(run, comparison).verdict
        except RegistryConflict as error:
            return str(error)

    with ThreadPoolExecutor(2) as threads:
        ended = list(threads.map(go_told, runs, comparisons))
    told = [end for end in ended if end != "promote"]
    assert len(told) == 1
    assert "not at nothing any more" in told[0]
    (entry,) = here.registry.history()
    assert entry.run_id == runs[ended.index("promote")].run_id
    assert here.registry.resolve(CHAMPION_ALIAS).version == entry.version
    assert here.registry.check() == there.registry.check() == []
    assert here.store.names("moves") == here.store.names("pending") == []


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_of_two_moves_without_turns_one_wins(state_server, tmp_path, address):
    registries = [open_shared_run(tmp_path / host, host, address).registry for host in ("here", "there")]
    versions = [registries[0].register(*write_artifact(tmp_path, name)) for name in ("left", "right")]

    def move(registry, version):
        try:
            registry.move_alias(CHAMPION_ALIAS, version.version, expected=NoChampion())
        except RegistryConflict:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        won = list(threads.map(move, registries, versions))
    assert sorted(won) == [False, True]
    assert registries[0].resolve(CHAMPION_ALIAS) == versions[won.index(True)]
    assert registries[1].fetch(versions[0].version).is_dir()


def test_many_that_register_at_once_lose_no_version(here, there, tmp_path):
    artifacts = [write_artifact(tmp_path, str(number)) for number in range(6)]
    registries = [here.registry, there.registry] * 3
    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(lambda registry, artifact: registry.register(*artifact), registries, artifacts))
    assert sorted(version.version for version in made) == [f"v{number}" for number in range(1, 7)]
    assert here.registry.check() == []


def test_an_answer_that_was_lost_leaves_one_move(champion, here, state_server, tmp_path):
    second = here.registry.register(*write_artifact(tmp_path, "second"))
    lost = []
    state_server.lose_answer = lambda key: key.endswith(".json") and not (lost or lost.append(key))
    here.registry.move_alias(CHAMPION_ALIAS, second.version, expected=champion)
    assert lost
    assert here.registry.resolve(CHAMPION_ALIAS) == second


def test_a_host_that_died_after_its_move_is_recorded_by_the_next(champion, here, there, monkeypatch):
    comparison = compare_next(here, "here")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SharedRegistry, "record", _die)
        go(here, comparison)
    go(there, compare_next(there, "there"))
    assert [entry.run_id for entry in there.registry.history()] == ["run-1", "here", "there"]
    assert there.registry.check() == []


def _die(*_):
    raise KeyboardInterrupt


def test_a_state_without_its_digest_counts_and_gets_it(champion, here, state_server, tmp_path):
    state_server.lose_last("registry/states/", ".sha256")
    assert here.registry.resolve(CHAMPION_ALIAS) == champion
    here.registry.register(*write_artifact(tmp_path, "second"))
    numbers = {key.rpartition("/")[2].partition(".")[0] for key in state_server.keys("registry/states/")}
    assert len(state_server.keys("registry/states/")) == 2 * len(numbers)


@pytest.mark.parametrize("ending", [".json", ""])
def test_a_state_that_is_lost_is_damage(champion, here, state_server, ending):
    if ending:
        state_server.lose_last("registry/states/", ending)
    else:
        state_server.lose_all("registry/states/")
    with pytest.raises(RegistryDamaged, match=r"lost|no state"):
        here.registry.resolve(CHAMPION_ALIAS)
    assert here.registry.check() != []


def test_states_of_long_ago_are_removed(here, state_server, tmp_path, monkeypatch):
    monkeypatch.setattr("ml.registry.states._KEPT", 2)
    for name in ("one", "two", "three", "four"):
        here.registry.register(*write_artifact(tmp_path, name))
    assert [key for key in state_server.keys("registry/states/") if key.endswith(".json")] == [
        "registry/states/00000003.json",
        "registry/states/00000004.json",
    ]


def test_a_store_that_lets_two_write_one_object_is_refused(champion, there, state_server, tmp_path):
    state_server.guarded = False
    with pytest.raises(RegistryRefused, match="ignores conditional writes"):
        there.registry.register(*write_artifact(tmp_path, "second"))
    assert there.registry.resolve(CHAMPION_ALIAS) == champion


def test_a_store_that_refuses_names_no_champion_absent(champion, here, state_server):
    state_server.fault = lambda method, key: 403
    with pytest.raises(RegistryRefused, match="forbids access") as refusal:
        here.registry.resolve(CHAMPION_ALIAS)
    assert "what to do: give these credentials" in str(refusal.value)


def test_a_promotion_that_the_store_does_not_answer_to_is_pending_and_carried_out_later(
    champion, here, there, state_server, monkeypatch
):
    monkeypatch.setattr(bucket, "ATTEMPTS", 1)
    comparison = compare_next(here, "here")
    state_server.fault = lambda method, key: 503 if "/registry/" in key else 0
    with pytest.raises(PromotionPending):
        go(here, comparison)
    state_server.fault = lambda method, key: 0
    assert here.registry.resolve(CHAMPION_ALIAS) == champion
    assert there.store.names("pending") == ["here"]
    assert go(replace(there, run_id="here"), comparison).promoted
    assert here.registry.resolve(CHAMPION_ALIAS).model == comparison.candidate.model
    assert here.store.names("pending") == []


def test_a_model_underway_on_one_host_is_dropped_by_none(champion, here, there):
    mark_underway(here, model := compare_next(here, "here").candidate.model)
    for name in ("second", "third"):
        go(replace(there, run_id=name), compare_next(there, name), predecessors=1)
    with pytest.raises(LineageError, match="retention dropped"):
        here.registry.fetch(champion.version)
    kept = open_shared_run(here.reports.parent).store
    assert [kept.contains("models", each) for each in (model, champion.model)] == [True, False]


def test_a_model_that_was_changed_on_this_disk_is_fetched_again(champion, here):
    (here.registry.fetch(champion.version) / "model.json").write_text("{ }")
    assert tree_digest(here.registry.fetch(champion.version)) == champion.model


def test_a_model_that_was_changed_or_lost_in_the_store_is_damage(champion, there, state_server):
    for key in state_server.keys(f"parts/models/{champion.model}/"):
        state_server.objects[f"{ROOT}/{key}"] = b"other", 0.0
    with pytest.raises(RegistryDamaged, match="lost or changed"):
        there.registry.fetch(champion.version)
    assert len(there.registry.check()) == 1


def test_an_edited_state_is_damage(champion, here, state_server):
    change_state(state_server, b'"candidate":"v1"', b'"candidate":"v2"')
    with pytest.raises(RegistryDamaged, match="not the state that was written"):
        here.registry.history()


def test_a_state_that_was_written_by_no_registry_is_damage(champion, here, state_server):
    change_state(state_server, b'"candidate":"v1"', b'"candidate"')
    state_server.lose_last("registry/states/", ".sha256")
    with pytest.raises(RegistryDamaged, match="it cannot be read"):
        here.registry.history()


def test_a_model_under_a_digest_that_is_not_its_own_is_damage(champion, here, there, state_server):
    with here.store.staging() as folder:
        (folder / "model.json").write_text("{ }")
        here.store.commit(folder, "models", "0" * 64)
    change_state(state_server, champion.model.encode(), b"0" * 64)
    state_server.lose_last("registry/states/", ".sha256")
    with pytest.raises(RegistryDamaged, match="are not those that were registered"):
        there.registry.fetch(champion.version)


def test_a_folder_or_another_address_beside_a_shared_store_is_refused(here, tmp_path):
    for url, store in (
        (f"file:{tmp_path}", here.store),
        (ADDRESSES["gs"], here.store),
        (ADDRESSES["s3"], Store(tmp_path)),
    ):
        with pytest.raises(ConfigError, match="SINCERE_REGISTRY"):
            open_registry(url, store)


def test_who_was_slower_writes_nothing(champion, here):
    states = States(here.store.bucket)
    before = states.read()
    assert states.write(before, replace(before.state, aliases={}))
    assert not states.write(before, replace(before.state, dropped=("v1",)))
    with pytest.raises(RegistryDamaged, match="points at nothing"):
        here.registry.resolve(CHAMPION_ALIAS)


def test_a_registry_that_others_write_to_without_end_is_left_to_a_retry(champion, here, monkeypatch, tmp_path):
    monkeypatch.setattr(States, "write", lambda *_: False)
    with pytest.raises(RegistryUnavailable, match="20 times"):
        here.registry.register(*write_artifact(tmp_path, "second"))
