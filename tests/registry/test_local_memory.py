"""Aliases and history in a folder: whatever is done to one is told from a crash, and stops all that would write."""

import json
import shutil
import signal
import subprocess
from dataclasses import replace

import pytest

from ml.cli import main
from ml.errors import RegistryDamaged
from ml.records import ModelVersion, NoChampion, digest
from ml.registry import CHAMPION_ALIAS
from ml.registry.local import LocalRegistry
from ml.store.files import tree_digest
from tests.contracts.test_registry import DECISION, ENTRY, write_artifact
from tests.doomed import PROJECT

SECOND, THIRD = (replace(DECISION, candidate=letter * 64) for letter in "ef")
KEPT = replace(ENTRY, run_id="run-2", promoted=False, verdict="keep", decision=digest(SECOND))
NEXT = replace(ENTRY, run_id="run-3", promoted=False, verdict="keep", decision=digest(THIRD))


@pytest.fixture
def registry(tmp_path):
    """Two versions, the first of which is the champion, and two entries."""
    registry = LocalRegistry(tmp_path / "home" / "registry")
    version = registry.register(*write_artifact(tmp_path, "first"))
    registry.move_alias(CHAMPION_ALIAS, version.version, expected=NoChampion())
    registry.record(ENTRY, DECISION)
    registry.register(*write_artifact(tmp_path, "second"))
    registry.record(KEPT, SECOND)
    return registry


def edit(name, change):
    def damage(root):
        (root / name).write_bytes(change((root / name).read_bytes()))

    return damage


def without(name):
    return lambda root: (root / name).unlink()


def older(name):
    """The file as it was one entry before."""

    def damage(root):
        kept = (root / name).read_bytes()
        LocalRegistry(root).record(NEXT, THIRD)
        (root / name).write_bytes(kept)

    return damage


DAMAGES = {
    "history emptied": edit("history.jsonl", lambda text: b""),
    "history deleted": without("history.jsonl"),
    "history torn to NULs": edit("history.jsonl", lambda text: bytes(len(text))),
    "last entry cut": edit("history.jsonl", lambda text: text[: text.index(b"\n") + 1]),
    "last entry torn": edit("history.jsonl", lambda text: text[:-1]),
    "first entry cut": edit("history.jsonl", lambda text: text[text.index(b"\n") + 1 :]),
    "a middle figure altered": edit("history.jsonl", lambda text: text.replace(b"0.6461538", b"0.6461539", 1)),
    "entries changed places": edit("history.jsonl", lambda text: b"\n".join(text.split(b"\n")[1::-1]) + b"\n"),
    "an entry too many": edit("history.jsonl", lambda text: text + text[: text.index(b"\n") + 1]),
    "aliases are no record": edit("aliases.json", lambda text: b"{}"),
    "aliases emptied": edit("aliases.json", lambda text: b""),
    "aliases deleted": without("aliases.json"),
    "one letter of production": edit("aliases.json", lambda text: text.replace(b"production", b"productiom")),
    "the champion edited": edit("aliases.json", lambda text: text.replace(b'"production":"v1"', b'"production":"v2"')),
    "the candidate edited": edit("aliases.json", lambda text: text.replace(b'"candidate":"v2"', b'"candidate":"v1"')),
    "no alias at all": edit(
        "aliases.json", lambda text: json.dumps({**json.loads(text), "versions": {}}, sort_keys=True).encode()
    ),
    "history from a backup": older("history.jsonl"),
    "aliases from a backup": older("aliases.json"),
}
WRITES = {
    "register": lambda registry, folder: registry.register(*write_artifact(folder, "third")),
    "move_alias": lambda registry, folder: registry.move_alias(
        CHAMPION_ALIAS, "v2", expected=ModelVersion(version="v1", model=tree_digest(folder / "artifact-first"))
    ),
    "record": lambda registry, folder: registry.record(replace(NEXT, run_id="run-4"), THIRD),
    "prune": lambda registry, folder: registry.prune([]),
    "resolve": lambda registry, folder: registry.resolve(CHAMPION_ALIAS),
    "history": lambda registry, folder: registry.history(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_memory_that_is_damaged_stops_whatever_would_write_and_changes_nothing(registry, tmp_path, damage):
    damage(registry.root)
    before = tree_digest(registry.root)

    for write in WRITES.values():
        with pytest.raises(RegistryDamaged, match="python -m ml registry check"):
            write(registry, tmp_path)

    assert tree_digest(registry.root) == before
    assert registry.check() != []


LOSSES = {
    "a version file that names another": edit("versions/v1/version.json", lambda text: text.replace(b'"v1"', b'"v2"')),
    "a version file that is lost": without("versions/v1/version.json"),
    "a champion's version that is lost": lambda root: shutil.rmtree(root / "versions" / "v1"),
}


@pytest.mark.parametrize("damage", LOSSES.values(), ids=LOSSES.keys())
def test_a_version_that_is_damaged_stops_registering_pruning_and_promoting(registry, tmp_path, damage):
    damage(registry.root)
    before = tree_digest(registry.root)

    for name in ("register", "move_alias", "prune", "resolve"):
        with pytest.raises(RegistryDamaged):
            WRITES[name](registry, tmp_path)

    assert tree_digest(registry.root) == before
    assert registry.check() != []


def test_a_lost_version_of_the_history_never_gives_its_name_to_another(registry, tmp_path):
    third = registry.register(*write_artifact(tmp_path, "third"))
    registry.record(replace(NEXT, version=third.version), THIRD)
    shutil.rmtree(registry.root / "versions" / "v3")

    with pytest.raises(RegistryDamaged, match="v3"):
        registry.register(*write_artifact(tmp_path, "fourth"))


@pytest.mark.parametrize("name", [".nfs0000", ".DS_Store", "v3", "v1~", "v9.swp"])
def test_a_stray_file_among_the_versions_is_no_version(registry, tmp_path, name):
    (registry.root / "versions" / name).write_bytes(b"\0")
    (registry.root / "versions" / "v1" / name).write_bytes(b"\0")

    assert registry.check() == []
    assert [version.version for version in registry.prune(["v1"])] == []


KILLED = """
import os, signal, sys
from pathlib import Path
from ml.registry import local, local_memory
from tests.registry.test_local_memory import NEXT, THIRD
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
{how}
local.LocalRegistry(Path(sys.argv[1])).record(NEXT, THIRD)
"""
DEATHS = {
    "announced": ("local_memory.Memory._append = die", 2),
    "torn": (
        "append = local_memory.Memory._append\n"
        "local_memory.Memory._append = lambda self, place, line: (append(self, place, line[:99]), die())",
        2,
    ),
    "written": (
        "append = local_memory.Memory._append\n"
        "local_memory.Memory._append = lambda self, place, line: (append(self, place, line), die())",
        3,
    ),
}


@pytest.mark.parametrize(("how", "entries"), DEATHS.values(), ids=DEATHS.keys())
def test_a_write_that_a_crash_interrupted_is_no_damage_and_is_mended_by_the_next(registry, how, entries, python):
    command = [python, "-c", KILLED.format(how=how), str(registry.root)]
    assert subprocess.run(command, cwd=PROJECT, check=False).returncode == -signal.SIGKILL

    assert len(registry.history()) == entries
    assert registry.check() == []
    registry.record(NEXT, THIRD)

    assert list(registry.history()) == [ENTRY, KEPT, NEXT]
    assert registry.check() == []


def test_the_check_says_that_all_is_well(registry, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path / "home"))
    before = tree_digest(registry.root)

    assert main(["registry", "check"]) == 0

    assert "the registry is whole" in capsys.readouterr().out
    assert tree_digest(registry.root) == before


def test_the_check_lists_each_thing_that_is_wrong(registry, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path / "home"))
    weights = registry.root / "versions/v2/artifact/saved_model/weights"
    weights.write_text("changed")
    (registry.root / "decisions" / f"{KEPT.decision}.json").write_text("changed")
    registry.move_alias(CHAMPION_ALIAS, "v2", expected=registry.resolve(CHAMPION_ALIAS))

    assert main(["registry", "check"]) == 65

    printed = capsys.readouterr().out
    assert "production points at v2, but by the history at v1" in printed
    assert "the grounds of run run-2 are lost or changed" in printed
    assert "the files of v2 are not those that were registered" in printed
    assert str(tmp_path) not in printed
