"""Files and folders are whole or absent, and are on disk before they have their names."""

import os
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ml.store.files import file_digest, rename_whole, tree_digest, write_whole, writing_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def events(monkeypatch):
    """List each fsync, with the name of its file, and each rename."""
    seen = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def synced(descriptor):
        seen.append(f"fsync {os.path.basename(os.readlink(f'/proc/self/fd/{descriptor}'))}")  # noqa: PTH119, PTH115
        fsync(descriptor)

    def renamed(source, target, move):
        seen.append(f"rename {target.name}")
        move(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", lambda source, target: renamed(source, target, rename))
    monkeypatch.setattr(os, "replace", lambda source, target: renamed(source, target, replace))
    return seen


@pytest.mark.parametrize("content", ["Pok\u00e9mon\r\n", b"\xff\r\n"])
def test_what_is_written_is_there_byte_for_byte_and_nothing_beside_it(tmp_path, content):
    write_whole(tmp_path / "a" / "b.txt", content)

    assert (tmp_path / "a" / "b.txt").read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert names(tmp_path / "a") == ["b.txt"]


def test_content_is_on_disk_before_the_name_and_the_name_at_the_end(tmp_path, events):
    write_whole(tmp_path / "a.txt", "x")
    assert events == ["fsync a.txt.part", "rename a.txt", f"fsync {tmp_path.name}"]


def test_the_name_of_a_new_folder_is_on_disk_too(tmp_path, events):
    write_whole(tmp_path / "new" / "a.txt", "x")
    assert events == [f"fsync {tmp_path.name}", "fsync a.txt.part", "rename a.txt", "fsync new"]


def test_a_folder_is_on_disk_before_it_has_its_name(tmp_path, events):
    (tmp_path / "staged" / "inner").mkdir(parents=True)
    (tmp_path / "staged" / "inner" / "a.txt").write_text("x")

    rename_whole(tmp_path / "staged", tmp_path / "place")

    assert events == ["fsync inner", "fsync a.txt", "fsync staged", "rename place", f"fsync {tmp_path.name}"]
    assert (tmp_path / "place" / "inner" / "a.txt").read_text() == "x"


def test_a_folder_does_not_take_the_place_of_another(tmp_path):
    for name in ("staged", "place"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
    with pytest.raises(OSError, match="not empty"):
        rename_whole(tmp_path / "staged", tmp_path / "place")
    assert (tmp_path / "place" / "a.txt").read_text() == "place"


def test_a_file_keeps_its_mode(tmp_path):
    (tmp_path / "a.txt").touch(mode=0o600)
    write_whole(tmp_path / "a.txt", "x")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o600


def test_a_new_file_has_the_mode_of_any_new_file(tmp_path):
    (tmp_path / "other.txt").touch()
    write_whole(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "other.txt").stat().st_mode


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays_and_its_target_is_written(tmp_path, exists):
    (tmp_path / "far").mkdir()
    if exists:
        (tmp_path / "far" / "target.txt").write_text("before")
    (tmp_path / "link.txt").symlink_to("far/target.txt")

    write_whole(tmp_path / "link.txt", "x")

    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "far" / "target.txt").read_text() == "x"
    assert names(tmp_path) == ["far", "link.txt"]


def test_a_pipe_is_written_into(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as threads:
        read = threads.submit((tmp_path / "pipe").read_text)
        write_whole(tmp_path / "pipe", "x")
        assert read.result() == "x"
    assert (tmp_path / "pipe").is_fifo()


def test_a_device_and_the_standard_output_are_written_into(tmp_path):
    script = (
        "from pathlib import Path; from ml.store.files import write_whole\n"
        "write_whole(Path('/dev/null'), 'x'); write_whole(Path('/dev/stdout'), 'y')"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "y"
    assert os.path.samestat(os.stat(os.devnull), os.stat("/dev/null"))  # noqa: PTH116
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)  # noqa: PTH116


@pytest.mark.parametrize("failure", [KeyError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there_and_nothing_beside_it(tmp_path, failure):
    (tmp_path / "a.txt").write_text("before")
    with pytest.raises(failure), writing_whole(tmp_path / "a.txt") as file:
        file.write("half" * 10_000)
        raise failure
    assert (tmp_path / "a.txt").read_text() == "before"
    assert names(tmp_path) == ["a.txt"]


def test_what_a_killed_process_left_beside_it_is_not_in_the_file(tmp_path):
    script = (
        "import os, signal, sys; from pathlib import Path; from ml.store.files import writing_whole\n"
        "with writing_whole(Path(sys.argv[1])) as file:\n"
        "    file.write('half' * 10000); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    (tmp_path / "a.txt").write_text("before")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.txt")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "a.txt").read_text() == "before"

    write_whole(tmp_path / "a.txt", "after")

    assert (tmp_path / "a.txt").read_text() == "after"
    assert names(tmp_path) == ["a.txt"]


def test_of_two_that_write_at_once_one_waits_for_the_other(tmp_path):
    with ThreadPoolExecutor(1) as threads:
        with writing_whole(tmp_path / "a.txt") as file:
            file.write("first")
            second = threads.submit(write_whole, tmp_path / "a.txt", "2")
            with pytest.raises(TimeoutError):
                second.result(timeout=0.2)
        second.result()
    assert (tmp_path / "a.txt").read_text() == "2"


def test_many_that_write_at_once_never_mix(tmp_path):
    texts = [str(number) * 20_000 for number in range(8)]
    seen, done = set(), threading.Event()
    write_whole(tmp_path / "a.txt", texts[0])

    def read():
        while not done.is_set():
            seen.add((tmp_path / "a.txt").read_text())

    with ThreadPoolExecutor(9) as threads:
        reader = threads.submit(read)
        list(threads.map(lambda text: write_whole(tmp_path / "a.txt", text), texts * 3))
        done.set()
        reader.result()
    assert seen <= set(texts)
    assert names(tmp_path) == ["a.txt"]


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
