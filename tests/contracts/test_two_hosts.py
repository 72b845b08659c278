"""Two processes that see neither each other's processes nor mounts share a home, as two hosts do a volume."""

import json
import subprocess
import sys

import pytest

from ml.registry import CHAMPION_ALIAS
from ml.store.files import tree_digest
from tests.doomed import PROJECT
from tests.judge.examples import open_run

HOST = ("unshare", "--mount", "--pid", "--fork")
ROUNDS = 6
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


def host(home, name):
    command = [*HOST, sys.executable, "-c", WORK, str(home), name, str(ROUNDS)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=PROJECT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_two_hosts_that_register_promote_and_prune_at_once_both_end_right(tmp_path):
    if subprocess.run([*HOST, "true"], check=False, capture_output=True).returncode:
        pytest.skip("the kernel gives no namespaces to this user")
    hosts = [host(tmp_path, name) for name in ("left", "right")]
    for each in hosts:
        assert each.stdout.readline() == "ready\n", each.communicate()[1]
    said = [each.communicate("go\n", timeout=120) for each in hosts]
    assert [each.returncode for each in hosts] == [0, 0], said
    ended = {run_id: verdict for out, _ in said for run_id, verdict in json.loads(out).items()}

    run = open_run(tmp_path)
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
    assert list((tmp_path / "store" / "staging").iterdir()) == []
    assert not (tmp_path / "registry" / "staging").exists()
