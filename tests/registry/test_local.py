import errno
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ml.errors import ConfigError, RegistryDamaged, RegistryRefused
from ml.records import Aliases, NoChampion, from_json
from ml.registry import CHAMPION_ALIAS
from ml.registry.local import LocalRegistry
from ml.registry.open import open_registry
from ml.store import Store
from ml.store.files import tree_digest
from tests.contracts.test_registry import DECISION, ENTRY, write_artifact
from tests.registry.racers import race, register_many


@pytest.fixture
def registry(tmp_path):
    """Make a registry with one version, which is the champion, and one history entry."""
    registry = LocalRegistry(tmp_path / "registry")
    version = registry.register(*write_artifact(tmp_path, "first"))
    registry.move_alias(CHAMPION_ALIAS, version.version, expected=NoChampion())
    registry.record(ENTRY, DECISION)
    return registry


def test_the_url_names_the_folder(tmp_path):
    registry = open_registry(f"file:{tmp_path}", Store(tmp_path / "store"))

    assert isinstance(registry, LocalRegistry)
    assert registry.root == tmp_path


def test_an_unknown_scheme_is_an_error_that_names_the_setting():
    with pytest.raises(ConfigError, match="SINCERE_REGISTRY"):
        open_registry("ftp:registry", Store(Path("store")))


def test_looking_at_a_registry_makes_no_folder(tmp_path):
    registry = LocalRegistry(tmp_path / "registry")

    registry.resolve(CHAMPION_ALIAS)
    registry.history()

    assert list(tmp_path.iterdir()) == []


def test_the_layout_is_the_documented_one(registry):
    files = {path.relative_to(registry.root).as_posix() for path in registry.root.rglob("*") if path.is_file()}

    assert files == {
        "aliases.json",
        "history.jsonl",
        "lock",
        f"decisions/{ENTRY.decision}.json",
        "versions/v1/version.json",
        "versions/v1/artifact/model.json",
        "versions/v1/artifact/saved_model/weights",
    }
    aliases = from_json((registry.root / "aliases.json").read_text(), Aliases)
    assert aliases.versions == {"candidate": "v1", "production": "v1"}


def test_files_are_linked_rather_than_copied(registry, tmp_path):
    kept = registry.root / "versions/v1/artifact/saved_model/weights"

    assert kept.samefile(tmp_path / "artifact-first" / "saved_model" / "weights")


def test_files_of_another_file_system_are_copied(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    registry = LocalRegistry(tmp_path / "registry")

    version = registry.register(*write_artifact(tmp_path, "first"))

    assert tree_digest(registry.fetch(version.version)) == version.model


def test_a_changed_file_of_a_version_is_noticed(registry):
    weights = registry.root / "versions/v1/artifact/saved_model/weights"
    weights.write_text("changed", encoding="utf-8")

    with pytest.raises(RegistryDamaged, match="the files of v1 are not those that were registered"):
        registry.fetch("v1")


def test_a_missing_file_of_a_version_is_noticed(registry):
    (registry.root / "versions/v1/artifact/model.json").unlink()

    with pytest.raises(RegistryDamaged, match="not those that were registered"):
        registry.fetch("v1")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe"])
def test_unreadable_aliases_are_never_an_absent_champion(registry, content):
    (registry.root / "aliases.json").write_bytes(content)

    with pytest.raises(RegistryDamaged, match=r"aliases\.json"):
        registry.resolve(CHAMPION_ALIAS)


def test_lost_aliases_are_never_an_absent_champion(registry):
    (registry.root / "aliases.json").unlink()

    with pytest.raises(RegistryDamaged, match="versions or a history, but no aliases"):
        registry.resolve(CHAMPION_ALIAS)


@pytest.mark.parametrize("file", ["aliases.json", "history.jsonl", "versions/v1/version.json"])
def test_a_file_of_another_schema_is_one_clear_error(registry, file):
    path = registry.root / file
    path.write_text(path.read_text().replace('"schema":1', '"schema":2'))

    with pytest.raises(RegistryDamaged, match="not of schema 1, which this version"):
        registry.resolve(CHAMPION_ALIAS)
        registry.history()


def test_an_unreadable_version_is_named(registry):
    (registry.root / "versions/v1/version.json").write_text("{}", encoding="utf-8")

    with pytest.raises(RegistryDamaged, match=r"versions/v1/version\.json"):
        registry.resolve(CHAMPION_ALIAS)


def test_a_registry_that_is_no_folder_waits_for_a_person_and_its_place_is_not_told(tmp_path):
    (tmp_path / "registry").write_text("a file where a folder belongs", encoding="utf-8")

    with pytest.raises(RegistryRefused) as raised:
        LocalRegistry(tmp_path / "registry").resolve(CHAMPION_ALIAS)

    assert str(tmp_path) not in str(raised.value)


def test_a_torn_last_line_is_left_out_and_the_next_entry_replaces_it(registry, caplog):
    history = registry.root / "history.jsonl"
    with history.open("ab") as file:
        file.write(b'{"average_precision":0.68,"deci')

    assert list(registry.history()) == [ENTRY]
    assert "cut off by a crash" in caplog.text

    later = replace(ENTRY, run_id="run-2")
    registry.record(later, DECISION)

    assert list(registry.history()) == [ENTRY, later]
    assert history.read_bytes().count(b"\n") == 2


def test_a_broken_line_inside_the_history_is_named(registry):
    history = registry.root / "history.jsonl"
    history.write_bytes(b"nonsense\n" + history.read_bytes())

    with pytest.raises(RegistryDamaged, match=r"history\.jsonl, line 1"):
        registry.history()


def test_what_a_crash_left_in_staging_does_not_hinder(registry, tmp_path):
    (registry.root / "staging" / "artifact").mkdir(parents=True)
    (registry.root / "staging" / "artifact" / "half").write_text("half", encoding="utf-8")

    version = registry.register(*write_artifact(tmp_path, "second"))

    assert version.version == "v2"
    assert tree_digest(registry.fetch("v2")) == version.model
    assert not (registry.root / "staging").exists()


def test_of_two_processes_that_move_the_alias_one_wins_and_the_other_is_told(registry, tmp_path):
    registry.register(*write_artifact(tmp_path, "second"))
    registry.register(*write_artifact(tmp_path, "third"))
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    racers = [context.Process(target=race, args=(registry.root, name, start, results)) for name in ("v2", "v3")]

    for racer in racers:
        racer.start()
    outcome = dict(results.get(timeout=60) for _ in racers)
    for racer in racers:
        racer.join()

    assert sorted(outcome.values()) == ["told", "won"]
    assert outcome[registry.resolve(CHAMPION_ALIAS).version] == "won"


def test_processes_that_register_the_same_models_make_one_version_of_each(tmp_path):
    for content in ("one", "two", "three"):
        write_artifact(tmp_path, content)
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    workers = [context.Process(target=register_many, args=(tmp_path / "registry", tmp_path, start)) for _ in range(2)]

    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)

    versions = {path.name for path in (tmp_path / "registry" / "versions").iterdir()}
    assert versions == {"v1", "v2", "v3"}
