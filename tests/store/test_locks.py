"""A lock is held by one process at a time, and released when the process ends."""

import errno
import fcntl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from ml.errors import ConfigError
from ml.store.locks import locked, try_lock

HOLD = """
import sys
from pathlib import Path
from ml.store.locks import locked
with locked(Path(sys.argv[1]), waiting=""):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_held_by_one_and_free_afterwards(tmp_path):
    with locked(tmp_path / "new" / "lock", waiting=""), try_lock(tmp_path / "new" / "lock") as free:
        assert not free
    with try_lock(tmp_path / "new" / "lock") as free:
        assert free


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with try_lock(tmp_path / "lock") as free:
            assert not free
        holder.kill()
        holder.wait()
        with try_lock(tmp_path / "lock") as free:
            assert free


def test_who_waits_says_so_once_and_who_does_not_says_nothing(tmp_path, caplog):
    caplog.set_level("INFO", logger="ml")

    def wait():
        with locked(tmp_path / "lock", waiting="waiting for another"):
            return [record.getMessage() for record in caplog.records]

    assert wait() == []
    with ThreadPoolExecutor(1) as threads:
        with locked(tmp_path / "lock", waiting=""):
            waiter = threads.submit(wait)
            with pytest.raises(TimeoutError):
                waiter.result(timeout=0.2)
        assert waiter.result() == ["waiting for another"]


def test_a_lock_whose_file_was_removed_while_others_waited_is_held_by_one(tmp_path):
    def hold():
        with locked(tmp_path / "lock", waiting=""), try_lock(tmp_path / "lock") as free:
            return free

    with ThreadPoolExecutor(2) as threads:
        with locked(tmp_path / "lock", waiting=""):
            waiters = [threads.submit(hold) for _ in range(2)]
            with pytest.raises(TimeoutError):
                waiters[0].result(timeout=0.2)
            (tmp_path / "lock").unlink()
        assert [waiter.result() for waiter in waiters] == [False, False]
    assert (tmp_path / "lock").exists()


def test_a_lock_that_is_not_there_is_neither_held_nor_made(tmp_path):
    with try_lock(tmp_path / "lock") as free:
        assert not free
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_who_tries_is_its_own(tmp_path):
    (tmp_path / "lock").touch()
    with pytest.raises(FileNotFoundError, match="its own"), try_lock(tmp_path / "lock"):
        raise FileNotFoundError("its own")


def test_the_file_is_open_for_writing_as_nfs_wants_it(tmp_path, monkeypatch):
    """On NFS, an exclusive flock is a write lock of the server and fails with EBADF on a file opened for reading."""
    take = fcntl.flock

    def take_as_nfs_does(descriptor, operation):
        if operation & fcntl.LOCK_EX and not fcntl.fcntl(descriptor, fcntl.F_GETFL) & 3:
            raise OSError(errno.EBADF, "Bad file descriptor")
        take(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", take_as_nfs_does)
    with locked(tmp_path / "lock", waiting=""):
        pass
    with try_lock(tmp_path / "lock") as free:
        assert free


def test_a_file_system_that_cannot_lock_is_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ConfigError, match="cannot lock files: Function not implemented") as raised:
        locked(tmp_path / "lock", waiting="").__enter__()
    assert str(tmp_path) not in str(raised.value)
