"""One host trains and promotes; another, whose home is empty, goes on from there, with an object store alone between.

Each command is a process of its own, with the real client of S3.
"""

import os
import subprocess
from pathlib import Path

import pytest

from ml.source.sample import write_sample
from tests.places import ADDRESSES
from tests.source.object_store_servers import use_only_our_credentials
from tests.state_server import ROOT, StateServer, point_at, running
from tests.tiny import write_tiny_config

PROJECT = Path(__file__).parents[2]


class Host:
    """A host with a home of its own."""

    def __init__(self, home, python):
        self.home, self._python = home, python

    def do(self, *command):
        """Run `python -m ml …`; return its status and all that it said."""
        places = {"SINCERE_HOME": str(self.home), "SINCERE_STORE": ADDRESSES["s3"], "PYTHONPATH": str(PROJECT)}
        program = [self._python, "-m", "ml", *map(str, command)]
        environment = {**os.environ, **places}
        done = subprocess.run(
            program, cwd=self.home.parent, env=environment, check=False, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory, python):
    """A server that has all of a first run, the command of that run, and where the next homes may lie."""
    place = tmp_path_factory.mktemp("one-store")
    write_sample(place / "rows.csv", rows=1500, seed=1)
    command = ["run", "--config", write_tiny_config(place), "--source", place / "rows.csv"]
    with pytest.MonkeyPatch.context() as patch, running(StateServer()) as server:
        use_only_our_credentials(patch, place)
        point_at(server, patch)
        status, said = Host(place / "first", python).do(*command, "--run-id", "first")
        assert status == 0, said
        assert "PROMOTE" in said
        yield server, command, place


@pytest.fixture
def other(trained, tmp_path, python):
    trained[2].joinpath("homes").mkdir(exist_ok=True)
    return Host(trained[2] / "homes" / tmp_path.name, python)


def test_the_same_csv_is_unchanged_for_a_host_that_has_never_seen_it(trained, other):
    status, said = other.do(*trained[1], "--run-id", "second")
    assert (status, "those of the run of champion v1" in said) == (0, True), said


def test_the_champion_predicts_elsewhere_and_the_verdict_is_read_there(trained, other):
    status, said = other.do("predict", "--text", "Why is the sky blue?")
    assert (status, said.startswith("probability 0.")) == (0, True), said
    status, said = other.do("verdict")
    assert (status, "production: v1" in said) == (0, True), said


def test_a_champion_with_a_changed_byte_predicts_nowhere(trained, other):
    server = trained[0]
    key = next(key for key in sorted(server.objects) if f"{ROOT}/parts/models/" in key)
    content, then = server.objects[key]
    server.objects[key] = bytes([content[0] ^ 1]) + content[1:], then
    status, said = other.do("predict", "--text", "Why is the sky blue?")
    server.objects[key] = content, then
    assert (status, "the files of v1 are lost or changed" in said) == (65, True), said


def test_no_secret_is_in_what_a_command_says_or_stores(trained, other):
    server = trained[0]
    server.fault = lambda method, key: 403
    status, said = other.do("predict", "--text", "Why?")
    server.fault = lambda method, key: 0
    assert (status, "the bucket forbids access" in said, "the-secret" in said) == (65, True, False)
    assert not [key for key, (content, _) in server.objects.items() if b"the-secret" in content]
