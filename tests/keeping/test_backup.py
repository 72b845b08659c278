"""A backup brings registry, store and reports back as they were, or changes nothing."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace

import pytest

from ml.cli import main
from ml.errors import ConfigError, DataError
from ml.keeping.backup import back_up, restore
from ml.registry.open import open_registry
from ml.store import Store
from tests.champion.test_rollback import saved_model, store_measurer  # noqa: F401, a fixture
from tests.contracts.test_crash import wait_for_the_lock
from tests.doomed import PROJECT, Death, doomed_processes
from tests.judge.examples import open_run
from tests.keeping.homes import age, promote_model, promoted


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Make a home with two champions, the second of now, with all that is only there for a while."""
    home = tmp_path_factory.mktemp("backup") / "home"
    run = promoted(home, "one", "two")
    run.store.put("answers", "run-two", {"answer.json": "{}"})
    for folder in ("checkpoints/k/10", "scores/s", "staging/x", "unsent/u"):
        (home / "store" / folder).mkdir(parents=True)
        (home / "store" / folder / "file").write_text("spares work")
    age(home, 3)
    return home


@pytest.fixture
def backup(home, tmp_path):
    back_up(open_run(home), tmp_path / "backup.tar")
    return tmp_path / "backup.tar"


def files(home):
    """Content, mode and time in seconds of each file that a backup has."""
    left_out = {"checkpoints", "scores", "staging", "unsent"}
    found = {}
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home).as_posix()
        if path.is_file() and not (name.endswith("lock") or left_out & set(path.relative_to(home).parts)):
            found[name] = (path.read_bytes(), path.stat().st_mode, int(path.stat().st_mtime))
    return found


def test_what_is_restored_is_as_it_was(home, backup, tmp_path):
    run = open_run(tmp_path / "new")

    restored = restore(run, backup)

    assert files(tmp_path / "new") == files(home)
    assert (restored.files, restored.with_registry) == (len(files(home)), True)
    names = sorted(path.name for path in (tmp_path / "new" / "store").iterdir())
    assert not {"checkpoints", "scores", "staging", "unsent"} & set(names)
    for kind in ("models", "moves", "decisions"):
        assert run.store.names(kind) == open_run(home).store.names(kind)


def test_files_that_share_their_bytes_do_so_again(backup, tmp_path):
    restore(open_run(tmp_path / "new"), backup)
    (model,) = open_run(tmp_path / "new").registry.root.glob("versions/v2/artifact/model.json")
    assert model.stat().st_nlink == 2


@pytest.mark.usefixtures("quick_servers")
def test_a_restored_registry_is_whole_and_serves_and_goes_back(tmp_path, saved_model, monkeypatch, capsys):  # noqa: F811
    home = tmp_path / "home"
    for number, threshold in enumerate((0.3, 0.7)):
        run = open_run(home, f"run-{number}")
        promote_model(run, store_measurer(run.store, saved_model, threshold))
    monkeypatch.setenv("SINCERE_HOME", str(home))
    assert main(["backup", str(tmp_path / "b.tar")]) == 0
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path / "new"))
    assert main(["restore", str(tmp_path / "b.tar")]) == 0
    shutil.rmtree(home)
    capsys.readouterr()

    assert main(["registry", "check"]) == 0
    assert main(["history"]) == 0
    assert main(["verdict"]) == 0
    assert main(["predict", "--text", "Why?"]) == 0
    told = capsys.readouterr().out
    assert "the registry is whole" in told
    assert "promote  v2" in told
    assert "PROMOTE: " in told
    assert "probability 0.4000  label 0" in told
    assert main(["rollback", "--reason", "tried"]) == 0
    assert main(["predict", "--text", "Why?"]) == 0
    assert "probability 0.4000  label 1" in capsys.readouterr().out


@pytest.mark.parametrize("occupied", ["store", "reports", "registry"])
def test_nothing_is_overwritten(backup, tmp_path, occupied):
    (tmp_path / "new" / occupied).mkdir(parents=True)
    (tmp_path / "new" / occupied / "mine").write_text("mine")
    with pytest.raises(ConfigError, match=f"there is a {occupied} already"):
        restore(open_run(tmp_path / "new"), backup)
    assert [path.name for path in (tmp_path / "new").rglob("*")] == [occupied, "mine"]


def test_empty_folders_and_what_is_airflows_are_in_nobodys_way(home, backup, tmp_path):
    for folder in ("store", "airflow/logs"):
        (tmp_path / "new" / folder).mkdir(parents=True)
    restore(open_run(tmp_path / "new"), backup)
    assert files(tmp_path / "new") == files(home)


def rewritten(backup, change):
    """Write the backup again with each member changed, and return it."""
    other = backup.with_name("other.tar")
    with tarfile.open(backup) as old, tarfile.open(other, "w") as new:
        for member in old:
            content = old.extractfile(member).read() if member.isreg() else b""
            for name, text in change(member.name, content):
                member.name, member.size = name, len(text)
                new.addfile(member, io.BytesIO(text))
    return other


DAMAGE = {
    "another content": lambda name, text: [(name, text.replace(b"v2", b"v1") if "aliases" in name else text)],
    "a file too many": lambda name, text: [(name, text), *([("store/more", b"")] if name == "MANIFEST.json" else [])],
    "a file less": lambda name, text: [] if name.endswith("history.jsonl") else [(name, text)],
    "no manifest": lambda name, text: [] if name == "MANIFEST.json" else [(name, text)],
    "out of the home": lambda name, text: [("store/../../up" if "answer.json" in name else name, text)],
    "elsewhere": lambda name, text: [("etc/passwd" if "answer.json" in name else name, text)],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_backup_that_was_changed_is_refused_and_leaves_no_home(backup, tmp_path, damage):
    with pytest.raises(DataError, match="the backup cannot be used"):
        restore(open_run(tmp_path / "new"), rewritten(backup, DAMAGE[damage]))
    assert not [path for path in (tmp_path / "new").iterdir() if path.name[0] != "."]
    restore(open_run(tmp_path / "new"), backup)
    assert open_run(tmp_path / "new").registry.check() == []


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, None])
def test_a_backup_that_is_cut_off_is_refused(backup, tmp_path, content):
    backup.write_bytes(backup.read_bytes()[: backup.stat().st_size // 2] if content is None else content)
    with pytest.raises(DataError, match="the backup cannot be used"):
        restore(open_run(tmp_path / "new"), backup)


def test_the_registry_may_lie_elsewhere(home, backup, tmp_path):
    run = open_run(tmp_path / "new")
    elsewhere = replace(run, registry=open_registry(f"file:{tmp_path / 'r'}", run.store))
    restore(elsewhere, backup)
    assert elsewhere.registry.check() == []
    assert not (tmp_path / "new" / "registry").exists()


def test_a_registry_in_a_folder_is_not_restored_beside_one_in_wandb(backup, tmp_path):
    run = open_run(tmp_path / "new")
    other = replace(run, registry=open_registry("wandb://acme/quora/insincere", Store(tmp_path / "new" / "store")))
    with pytest.raises(ConfigError, match="the registry is elsewhere"):
        restore(other, backup)


def test_a_backup_waits_for_who_decides_on_the_champion(home, tmp_path):
    copy = shutil.copytree(home, tmp_path / "home")
    command = [sys.executable, "-m", "ml", "backup", str(tmp_path / "b.tar")]
    with open_run(copy).registry.turn():
        process = subprocess.Popen(
            command, cwd=PROJECT, env={**os.environ, "SINCERE_HOME": str(copy)}, stdout=subprocess.PIPE
        )
        wait_for_the_lock(process, copy / "registry" / "champion.lock")
        assert not (tmp_path / "b.tar").exists()
    process.communicate(timeout=60)
    with tarfile.open(tmp_path / "b.tar") as tar:
        assert json.load(tar.extractfile("MANIFEST.json"))
    assert process.returncode == 0


def test_a_restore_that_was_killed_is_begun_anew_or_finished(home, backup, tmp_path):
    with doomed_processes("ml.keeping.backup") as processes:
        new = tmp_path / "new"
        new.mkdir()
        changes = processes.run(new, ["restore", str(backup)]).changes
        renames = [number for number, change in enumerate(changes, 1) if change.startswith("os.rename")]
        for number in (len(changes) // 2, *renames):
            shutil.rmtree(new)
            new.mkdir()
            assert processes.run(new, ["restore", str(backup)], Death(number)).status == -signal.SIGKILL
            assert processes.run(new, ["restore", str(backup)]).status == 0
            assert files(new) == files(home)
    assert len(renames) == 3
