"""Two processes that see neither each other's processes nor mounts share a home, as two hosts do a volume.

To run the same on a real volume, such as NFS with `lookupcache=positive`, which is mounted twice:
    SINCERE_SHARED_FOLDERS=/mnt/left:/mnt/right python -m pytest tests/contracts/test_two_hosts.py
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from ml.registry import CHAMPION_ALIAS
from ml.store import Store
from ml.store.files import tree_digest, write_whole
from ml.store.locks import locked, try_lock
from tests.doomed import PROJECT
from tests.judge.examples import open_run

HOST = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
SHARED = "SINCERE_SHARED_FOLDERS"
ROUNDS = 6
# The lock is held until the process is killed.
HOLD = """
import sys
from pathlib import Path
from ml.store.locks import locked
with locked(Path(sys.argv[1], "lock"), waiting=""):
    print("held", flush=True)
    sys.stdin.read()
"""
# What is written has one letter only, so that a reader sees whether it is whole.
WRITE = """
import sys
from pathlib import Path
from ml.store import Store
from ml.store.files import write_whole
home = Path(sys.argv[1])
store = Store(home / "store")
for number in range(60):
    content = "abcdef"[number % 6] * 100_000
    write_whole(home / "file", content)
    with store.staging() as folder:
        (folder / "rows").write_text(content)
        store.commit(folder, "splits", str(number))
    print(number, flush=True)
"""
# Each round a model is trained, registered, promoted if nobody else was meanwhile, and what is too old is dropped.
WORK = """
import json, sys
from pathlib import Path
from ml.champion.promote import promote
from ml.champion.retention import mark_underway
from ml.config import Config, RetentionConfig
from ml.errors import RegistryConflict
from tests.judge.examples import compare_next, judged, open_run, probed
home, host, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
config, ended = Config(retention=RetentionConfig(predecessors=1)), {}
print("ready", flush=True)
sys.stdin.readline()
for number in range(rounds):
    run = open_run(home, f"{host}-{number}")
    comparison = compare_next(run, run.run_id, **({"precision": 0.1} if number % 3 == 2 else {}))
    mark_underway(run, comparison.candidate.model)
    try:
        ended[run.run_id] = promote(config, run, comparison, judged(comparison), probed(comparison)).verdict
    except RegistryConflict:
        ended[run.run_id] = "told"
print(json.dumps(ended))
"""


@pytest.fixture(params=["local", "shared"])
def homes(request, tmp_path):
    """One folder, by the paths at which two hosts see it."""
    if subprocess.run([*HOST, "true"], check=False, capture_output=True).returncode:
        pytest.skip("the kernel gives no namespaces to this user")
    if request.param == "local":
        return tmp_path, tmp_path
    if SHARED not in os.environ:
        pytest.skip(f"{SHARED} does not name two mounts of one folder")
    name = uuid4().hex
    left, right = (Path(mount, name) for mount in os.environ[SHARED].split(os.pathsep))
    left.mkdir()
    return left, right


def host(script, *arguments):
    pipe = subprocess.PIPE
    command = [*HOST, sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=PROJECT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_a_lock_of_one_host_holds_for_the_other_until_its_process_is_killed(homes):
    left, right = homes
    with host(HOLD, left) as holder:
        assert holder.stdout.readline() == "held\n", holder.communicate()[1]
        with try_lock(right / "lock") as free:
            assert not free
        holder.kill()
        with locked(right / "lock", waiting=""):
            holder.wait(timeout=60)


def test_what_one_host_writes_is_whole_for_the_other(homes):
    left, right = homes
    store, seen, known = Store(right / "store"), [], set()
    with host(WRITE, left) as writer:
        assert writer.stdout.readline() == "0\n", writer.communicate()[1]
        while writer.poll() is None:
            new = set(store.names("splits")) - known
            paths = [right / "file", *(store.open("splits", name) / "rows" for name in new)]
            seen += [path.read_text() for path in paths if path.is_file()]
            known |= new
            time.sleep(0.001)
        assert writer.returncode == 0, writer.communicate()[1]
    assert {(len(content), len(set(content))) for content in seen} == {(100_000, 1)}
    assert (right / "file").read_text()[0] == "f"
    assert sorted(map(int, store.names("splits"))) == list(range(60))


def test_a_host_that_found_nothing_finds_what_the_other_then_makes(homes):
    left, right = homes
    places = [Path("file"), Path("folder", "file")]
    (left / "folder").mkdir()
    assert [(right / place).exists() for place in places] == [False, False]
    for place in places:
        write_whole(left / place, "made")
    assert [(right / place).exists() for place in places] == [True, True]


def test_two_hosts_that_register_promote_and_prune_at_once_both_end_right(homes):
    hosts = [host(WORK, home, name, ROUNDS) for home, name in zip(homes, ("left", "right"), strict=True)]
    for each in hosts:
        assert each.stdout.readline() == "ready\n", each.communicate()[1]
    said = [each.communicate("go\n", timeout=600) for each in hosts]
    assert [each.returncode for each in hosts] == [0, 0], said
    ended = {run_id: verdict for out, _ in said for run_id, verdict in json.loads(out).items()}

    home = homes[0]
    run = open_run(home)
    history = run.registry.history()
    champions = [entry.version for entry in history if entry.promoted]
    assert run.registry.check() == []
    assert {entry.run_id: entry.verdict for entry in history} == {
        run_id: verdict for run_id, verdict in ended.items() if verdict != "told"
    }
    assert [
        entry.previous.version for entry in history if entry.promoted and entry.version != champions[0]
    ] == champions[:-1]
    assert run.registry.resolve(CHAMPION_ALIAS).version == champions[-1]
    for version in champions[-2:]:
        kept = run.registry.find(version)
        assert (
            tree_digest(run.registry.fetch(version)) == tree_digest(run.store.open("models", kept.model)) == kept.model
        )
    assert run.store.names("pending") == run.store.names("underway") == []
    assert list((home / "store" / "staging").iterdir()) == []
    assert not (home / "registry" / "staging").exists()
