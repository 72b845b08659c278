"""Workers with homes of their own, and their state in an S3 server, moto's: `make test-containers`."""

import time
from collections.abc import Iterator, Sequence

import pytest

from tests.containers.stack import PROJECT, STATE, Stack, engine, race, running_stack
from tests.tiny import BETTER

pytestmark = pytest.mark.containers
WORKERS = ("worker", "worker-two")
LONG = {"epochs": 50, "batch_size": 8, "force": True}
AWAY_SECONDS = 120
SLOW_SECONDS = 60

# A second worker stands for a second host: it has a volume of its own, and may write to no more than a pod on
# Kubernetes (deploy/kubernetes/pod-templates/step.yaml). The server of the bucket keeps it in memory.
_HOSTS = f"""
services:
  worker-two:
    extends: {{file: "{PROJECT}/docker-compose.yaml", service: worker}}
    build: !reset null
    volumes: ["state-two:{STATE}"]
    read_only: true
    tmpfs: ["/opt/airflow:uid=50000", "/home/sincere:uid=50000", /tmp]
  bucket:
    image: sincere-test-bucket
    build:
      network: host
      dockerfile_inline: |
        FROM sincere-ml
        USER 0
        RUN uv venv /opt/moto && uv pip install --no-cache --python /opt/moto/bin/python 'moto[server]==5.2.1'
        USER 50000
    command: [/opt/moto/bin/moto_server, --host, 0.0.0.0, --port, "9000"]
    init: true
volumes:
  state-two:
"""
_CREATE = "import urllib.request as web; web.urlopen(web.Request('http://bucket:9000/state', method='PUT'), timeout=20)"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack after its first run, which the first worker made alone."""
    if trouble := engine():
        pytest.skip(f"a Docker engine with Compose is needed: {trouble}")
    settings = {
        "SINCERE_STORE": "s3://state/team",
        "AWS_ENDPOINT_URL": "http://bucket:9000",
        "AWS_ACCESS_KEY_ID": "the-user",
        "AWS_SECRET_ACCESS_KEY": "the-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    built = ("worker", "api-server", "bucket")
    with running_stack("sincere-test-store", tmp_path_factory.mktemp("store"), _HOSTS, built, **settings) as stack:
        stack.within("worker", "python", "-c", _CREATE)
        stack.give_input("worker-two")
        only(stack, "worker")
        run = stack.ended(stack.trigger())
        assert run["note"].startswith("**Promoted**")
        yield stack


def only(stack: Stack, *workers: str) -> None:
    """Let these workers take tasks, and no other."""
    if others := [each for each in WORKERS if each not in workers]:  # without a name, all parts would stop
        stack.compose("stop", *others)
    stack.up("--no-build", "--no-deps", *workers)


def verdicts(stack: Stack, worker: str) -> Sequence[Sequence[str]]:
    """Return verdict and version of each entry of the history, as a worker reads it."""
    lines = stack.within(worker, "python", "-m", "ml", "history").splitlines()[1:]
    return [line.split()[1:3] for line in lines]


def sound(stack: Stack) -> bool:
    """Say whether both workers see one history, and a registry that is whole."""
    told = [stack.within(worker, "python", "-m", "ml", "registry", "check") for worker in WORKERS]
    return all("the registry is whole" in each for each in told) and verdicts(stack, "worker") == verdicts(
        stack, "worker-two"
    )


def test_a_second_host_with_an_empty_home_goes_on_with_what_the_first_has_promoted(stack: Stack) -> None:
    only(stack, "worker-two")
    run = stack.ended(stack.trigger(**BETTER, force=True))
    assert run["note"].startswith("**Promoted**")
    assert verdicts(stack, "worker-two") == [["promote", "v1"], ["promote", "v2"]]
    stack.up("--no-build", *WORKERS)
    assert sound(stack)


def test_two_runs_on_two_hosts_for_one_alias_promote_one_after_the_other_or_one_of_them(stack: Stack) -> None:
    only(stack, *WORKERS)
    before = verdicts(stack, "worker")
    race(stack, "worker-two")
    assert verdicts(stack, "worker")[: len(before)] == before
    assert len(before) < len(verdicts(stack, "worker")) <= len(before) + 2
    assert sound(stack)


def test_a_run_outlasts_that_the_store_is_cut_off_for_two_minutes_and_then_gives_no_answer_for_one(
    stack: Stack,
) -> None:
    only(stack, "worker")
    before = verdicts(stack, "worker")
    run_id = stack.trigger(**LONG)
    stack.trains(run_id)
    (bucket,) = stack.containers("bucket")
    network = "sincere-test-store_default"
    stack.docker("network", "disconnect", network, bucket)
    time.sleep(AWAY_SECONDS)
    stack.docker("network", "connect", "--alias", "bucket", network, bucket)
    stack.docker("pause", bucket)
    time.sleep(SLOW_SECONDS)
    stack.docker("unpause", bucket)
    assert stack.ended(run_id)["state"] == "success"
    assert stack.attempt(run_id, "train") == (1, "success")
    only(stack, *WORKERS)
    assert len(verdicts(stack, "worker")) == len(before) + 1
    assert sound(stack)
