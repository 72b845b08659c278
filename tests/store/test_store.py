"""What is in the store is whole, and never changes."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from ml.errors import LineageError
from ml.store import Store
from ml.store.locks import try_lock


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


def _kill(place, script):
    """Run a script with the names `store` and `die`; it must end by calling `die`, which kills the process."""
    start = (
        "import os, signal; from pathlib import Path; from ml.store import Store\n"
        "die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"store = Store(Path({str(place)!r}))\n"
    )
    assert subprocess.run([sys.executable, "-c", start + script], check=False).returncode == -signal.SIGKILL


KILLED_WHILE_STAGING = "with store.staging() as folder: (folder / 'half').write_text('x'); die()"


def test_a_process_killed_while_staging_stores_nothing(store, tmp_path):
    _kill(tmp_path / "store", KILLED_WHILE_STAGING)
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["staging"]


def test_what_a_killed_process_left_is_swept_by_the_next(store, tmp_path):
    _kill(tmp_path / "store", KILLED_WHILE_STAGING)
    with store.staging() as alive:
        assert [path for path in alive.parent.iterdir() if path.is_dir()] == [alive]


def test_what_another_process_is_staging_is_left_alone(store):
    with store.staging() as first, store.staging() as second:
        assert first.is_dir()
        assert second.is_dir()


def test_many_that_stage_at_once_are_in_nobodys_way(store, tmp_path):
    with ThreadPoolExecutor(8) as threads:
        places = list(threads.map(lambda number: _put(store, str(number)), range(2000)))
    assert set(places) == {store.open("models", "digest")}
    assert list((tmp_path / "store" / "staging").iterdir()) == []


def test_many_that_put_and_drop_under_one_name_at_once_are_in_nobodys_way(store):
    def put_and_drop(number):
        store.put("pending", "run-1", {"a.txt": str(number)})
        if number % 3 == 0:
            store.drop("pending", "run-1")
        return store.names("pending") in ([], ["run-1"])

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(put_and_drop, range(200)))


@pytest.mark.parametrize("name", [".nfs0000", ".DS_Store", "run-1~", "4913"])
def test_a_stray_file_is_nothing_that_is_stored(store, tmp_path, name):
    store.put("moves", "run-1", {"a.txt": "x"})
    (tmp_path / "store" / "moves" / name).touch()

    assert store.names("moves") == ["run-1"]


def test_what_is_dropped_is_gone_and_dropping_it_again_changes_nothing(store):
    with store.staging() as folder:
        store.commit(folder, "models", "a" * 64)

    store.drop("models", "a" * 64)
    store.drop("models", "a" * 64)

    assert not store.contains("models", "a" * 64)


def _kept(store):
    return (store.open("moves", "run-1") / "a.txt").read_text()


def test_what_is_put_under_a_name_takes_the_place_of_what_was_there(store):
    store.put("moves", "run-1", {"a.txt": "first", "b.txt": "first"})
    store.put("moves", "run-1", {"a.txt": "second"})

    assert [(path.name, path.read_text()) for path in store.open("moves", "run-1").iterdir()] == [("a.txt", "second")]
    assert store.names("moves") == ["run-1"]


def test_a_process_killed_between_dropping_and_putting_keeps_what_was_there(store, tmp_path):
    store.put("moves", "run-1", {"a.txt": "first"})
    _kill(tmp_path / "store", "Store._place_whole = die; store.put('moves', 'run-1', {'a.txt': 'second'})")

    assert store.contains("moves", "run-1")
    assert store.names("moves") == ["run-1"]
    assert _kept(store) == "first"

    store.put("moves", "run-1", {"a.txt": "third"})
    assert _kept(store) == "third"

    store.drop("moves", "run-1")
    assert store.names("moves") == []


def test_what_was_there_does_not_come_back_when_it_is_dropped_after_a_crash(store, tmp_path):
    store.put("moves", "run-1", {"a.txt": "first"})
    _kill(tmp_path / "store", "Store._place_whole = die; store.put('moves', 'run-1', {'a.txt': 'second'})")

    store.drop("moves", "run-1")

    assert not store.contains("moves", "run-1")


def test_names_come_in_the_order_in_which_they_were_stored(store):
    for name in ("b", "c", "a"):
        store.put("pending", name, {"a.txt": "x"})
    os.utime(store.open("pending", "c"), ns=(0, 0))
    assert store.names("pending") == ["c", "b", "a"]
    assert store.names("moves") == []


def test_a_file_is_named_by_its_place_below_the_root(store):
    assert store.relative(_put(store, "x") / "a.txt") == "models/digest/a.txt"


def test_those_who_share_a_store_share_its_locks(store, tmp_path):
    with store.lock("training", waiting=""), try_lock(tmp_path / "store" / "training.lock") as free:
        assert not free
