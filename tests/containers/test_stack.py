"""The real stack of docker-compose.yaml, in containers: `make test-containers`."""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.containers.stack import DAG, PARTS, Stack, engine, running_stack

pytestmark = pytest.mark.containers
# A training that takes some minutes: parts can die meanwhile.
LONG = {"epochs": 40, "batch_size": 8}
OTHERWISE = {**LONG, "learning_rate": 0.002}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if trouble := engine():
        pytest.skip(f"a Docker engine with Compose is needed: {trouble}")
    with running_stack("sincere-test", tmp_path_factory.mktemp("stack"), "services: {}") as stack:
        yield stack


@pytest.fixture(scope="module")
def first(stack: Stack) -> dict[str, Any]:
    """The first run, when it has ended."""
    return stack.ended(stack.trigger())


def test_all_parts_get_healthy_and_none_needs_a_gpu(stack: Stack) -> None:
    assert stack.health() == dict.fromkeys(PARTS, "healthy")


def test_parts_of_one_kind_run_the_one_image_that_was_built(stack: Stack) -> None:
    lines = stack.compose("images", "--format", "json")
    ours = {image["ID"] for image in json.loads(lines) if image["Repository"].startswith("sincere-airflow")}
    assert len(ours) == 1


def test_the_ui_is_offered_to_this_machine_alone(stack: Stack) -> None:
    assert stack.compose("port", "api-server", "8080").startswith("127.0.0.1:")


def test_the_only_worker_takes_trainings_too(stack: Stack) -> None:
    assert queues_of(stack, "worker") == "default,gpu"


def test_a_run_over_rest_ends_with_a_verdict_and_a_champion(stack: Stack, first: dict[str, Any]) -> None:
    assert first["state"] == "success"
    assert first["note"].startswith("**Promoted**")
    assert [entry["version"] for entry in stack.history()] == ["v1"]


def test_training_and_evaluation_alone_are_on_the_queue_of_the_gpu(stack: Stack, first: dict[str, Any]) -> None:
    tasks = stack.tasks(first["dag_run_id"]).values()
    assert {task["task_id"] for task in tasks if task["queue"] == "gpu"} == {"train", "evaluate"}


def test_an_upgrade_of_the_images_between_two_runs_keeps_the_champion(stack: Stack, first: dict[str, Any]) -> None:
    before = stack.history()
    another = stack.folder / "upgrade.yaml"
    labels = "{build: {labels: {upgraded: 'yes'}}}"
    another.write_text(f"services: {{api-server: {labels}, worker: {labels}}}", encoding="utf-8")
    newer = stack.with_file(another)
    newer.compose("build", "api-server", "worker")
    newer.compose("down")
    newer.up("--no-build")
    for part in ("scheduler", "worker"):
        assert _label(newer, part) == "yes"
    run = newer.ended(newer.trigger())
    assert run["state"] == "success"
    assert run["note"].startswith("**Unchanged**")
    *earlier, last = newer.history()
    assert earlier == before
    assert (last["verdict"], last["version"], last["promoted"]) == ("unchanged", "v1", False)
    assert newer.call("GET", f"{DAG}/dagRuns/{first['dag_run_id']}")["state"] == "success"


def _label(stack: Stack, part: str) -> str:
    container = stack.compose("ps", "--quiet", part).strip()
    form = '{{index .Config.Labels "upgraded"}}'
    asked = subprocess.run(
        ["docker", "inspect", "--format", form, container], capture_output=True, text=True, check=True
    )
    return asked.stdout.strip()


@pytest.mark.parametrize("part", PARTS)
def test_a_run_survives_the_death_of_a_part_during_its_training(stack: Stack, first: dict[str, Any], part: str) -> None:
    """Only the death of the worker costs the training a try."""
    before = stack.history()
    run_id = stack.trigger(**LONG, learning_rate=0.001 + PARTS.index(part) / 10_000)
    stack.trains(run_id)
    assert stack.attempt(run_id, "train") == (1, "running")
    stack.kill(part)
    stack.wait_until_healthy()
    run = stack.ended(run_id)
    assert run["state"] == "success"
    assert stack.attempt(run_id, "train") == (2 if part == "worker" else 1, "success")
    if part == "worker":
        assert "going on from a checkpoint" in stack.log(run_id, "train", 2)
    *earlier, _ = stack.history()
    assert earlier == before


def test_a_stack_that_goes_down_and_up_during_a_training_goes_on_from_the_step_that_it_was_at(
    stack: Stack, first: dict[str, Any]
) -> None:
    run_id = stack.trigger(**OTHERWISE)
    stack.trains(run_id)
    stack.compose("down")
    stack.up("--no-build")
    run = stack.ended(run_id)
    assert run["state"] == "success"
    assert "was told to end (signal 15)" in stack.log(run_id, "train", 1)
    # Within an epoch: without the signal, a checkpoint is written at its end, or after ten minutes.
    assert re.search(r"whole epochs and [1-9]\d* of \d+ steps were made before", stack.log(run_id, "train", 2))


def test_where_a_gpu_is_the_worker_leaves_trainings_to_the_other(stack: Stack, first: dict[str, Any]) -> None:
    """The worker with a GPU gets the other's image and no device here: what is shown is who takes what."""
    file = stack.folder / "gpu.yaml"
    file.write_text("services: {worker-gpu: {image: sincere-ml, build: !reset null, deploy: !reset null}}")
    both = stack.with_file(file).with_words("--profile", "gpu")
    both.up("--no-build")
    both.compose("restart", "worker")
    both.up("--no-build")
    assert queues_of(both, "worker") == "default"
    assert queues_of(both, "worker-gpu") == "gpu"
    run_id = both.trigger(epochs=2)
    assert both.ended(run_id)["state"] == "success"
    trained, split = (both.tasks(run_id)[task]["hostname"] for task in ("train", "split"))
    assert (trained, split) == (host_of(both, "worker-gpu"), host_of(both, "worker"))


def queues_of(stack: Stack, worker: str) -> str:
    """Return what a worker's own process says: Celery writes another title over its command."""
    commands = stack.within(worker, "bash", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    (queues,) = set(re.findall(r"celery worker --queues ([\w,]+)", commands))
    return queues


def host_of(stack: Stack, part: str) -> str:
    return stack.within(part, "hostname").strip()
