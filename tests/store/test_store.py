"""The store: whole or absent, and never changed."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from ml.errors import LineageError
from ml.store import Store, file_digest, tree_digest


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def _put(store, text):
    with store.staging() as folder:
        (folder / "a.txt").write_text(text)
        return store.commit(folder, "models", "digest")


def test_what_is_committed_is_found_by_its_digest(store):
    _put(store, "x")
    assert (store.open("models", "digest") / "a.txt").read_text() == "x"


def test_what_was_stored_first_stays(store):
    _put(store, "first")
    _put(store, "second")
    assert (store.open("models", "digest") / "a.txt").read_text() == "first"


def test_a_staging_folder_is_gone_after_an_error(store):
    with pytest.raises(KeyError), store.staging() as folder:
        raise KeyError
    assert not folder.exists()


def test_what_is_not_stored_is_a_broken_lineage(store):
    with pytest.raises(LineageError, match="models 0123456789ab is not in the store"):
        store.open("models", "0123456789abcdef")


def _kill_while_staging(store):
    script = (
        "import os, signal; from pathlib import Path; from ml.store import Store\n"
        f"with Store(Path({str(store.root)!r})).staging() as folder:\n"
        "    (folder / 'half').write_text('x'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL


def test_a_process_killed_while_staging_stores_nothing(store):
    _kill_while_staging(store)
    assert [path.name for path in store.root.iterdir()] == ["staging"]


def test_what_a_killed_process_left_is_swept_by_the_next(store):
    _kill_while_staging(store)
    with store.staging() as alive:
        assert [path for path in alive.parent.iterdir() if path.is_dir()] == [alive]


def test_what_another_process_is_staging_is_left_alone(store):
    with store.staging() as first, store.staging() as second:
        assert first.is_dir()
        assert second.is_dir()


def test_many_that_stage_at_once_are_in_nobodys_way(store):
    with ThreadPoolExecutor(8) as threads:
        places = list(threads.map(lambda number: _put(store, str(number)), range(2000)))
    assert set(places) == {store.open("models", "digest")}
    assert list((store.root / "staging").iterdir()) == []


def test_the_digest_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert file_digest(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_digest_of_a_tree_depends_on_names_and_contents(tmp_path):
    for folder, name, text in (("a", "x", "1"), ("b", "x", "1"), ("c", "y", "1"), ("d", "x", "2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    a, b, c, d = (tree_digest(tmp_path / folder) for folder in "abcd")
    assert a == b
    assert len({a, c, d}) == 3


def test_what_is_dropped_is_gone_and_dropping_it_again_changes_nothing(store):
    with store.staging() as folder:
        store.commit(folder, "models", "a" * 64)

    store.drop("models", "a" * 64)
    store.drop("models", "a" * 64)

    assert not store.contains("models", "a" * 64)
