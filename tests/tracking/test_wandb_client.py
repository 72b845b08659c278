"""What the client of wandb 0.31.0 does not do by itself: why some code of ml/tracking is there at all.

If one of these fails with a later wandb, the code that names this file may go.
"""

import subprocess
import time

import pytest
import wandb


@pytest.fixture
def start(wandb_server, tmp_path):
    def start(**settings):
        return wandb.init(
            entity="acme", project="quora", id="one", settings=wandb.Settings(root_dir=str(tmp_path), **settings)
        )

    return start


def artifact(name):
    made = wandb.Artifact(name, "dataset")
    with made.new_file("text") as text:
        text.write(name)
    return made


@pytest.fixture
def sync(python):
    def sync(folder):
        command = [python, "-m", "wandb", "sync", "--include-online", str(folder / "wandb")]
        subprocess.run(command, check=True, capture_output=True)

    return sync


def test_an_artifact_that_is_logged_online_is_not_recorded_and_so_not_sent_again(wandb_server, start, sync, tmp_path):
    with start() as run:
        run.use_artifact(artifact("questions"))
        run.log_artifact(artifact("splits"))
    assert len(wandb_server.state.artifacts) == 2

    wandb_server.reset()
    sync(tmp_path)
    assert [run.exit_code for run in wandb_server.state.runs.values()] == [0]
    assert wandb_server.state.artifacts == {}


def test_logging_an_artifact_online_waits_for_wandb_and_fails_without(wandb_server, start, monkeypatch):
    with start() as run:
        monkeypatch.setattr(wandb.Api, "_HTTP_TIMEOUT", 2)
        wandb_server.fail("Viewer", status=500)
        began = time.monotonic()
        with pytest.raises(wandb.errors.AuthenticationError):
            run.log_artifact(artifact("splits"))
        assert time.monotonic() - began > 1.5


def test_an_artifact_that_is_not_uploaded_cannot_be_used_offline(start):
    with start(mode="offline") as run, pytest.raises(TypeError, match="offline"):
        run.use_artifact(artifact("questions"))


@pytest.mark.parametrize("operation", ["CreateArtifact", "file_stream"])
def test_a_run_finishes_and_syncs_without_an_error_though_wandb_refused_a_part(
    wandb_server, start, sync, tmp_path, operation
):
    wandb_server.fail(operation, status=403)
    with start(finish_timeout=60, finish_timeout_raises=True) as run:
        run.log({"loss": 0.5})
        run.log_artifact(artifact("splits"))
    sync(tmp_path)

    run = wandb_server.state.run("one")
    assert (run.exit_code is None, run.logged == []) == (operation == "file_stream", operation == "CreateArtifact")


def test_the_time_to_finish_does_not_begin_before_it_is_known_what_the_server_can_do(wandb_server, start):
    with start(finish_timeout=1, x_graphql_retry_wait_min_seconds=1, x_graphql_retry_wait_max_seconds=1) as run:
        wandb_server.fail("ServerFeaturesQuery", status=500, times=6)
        splits = artifact("splits")
        splits.finalize()
        run._interface.publish_artifact(run, splits, aliases=["latest"])
        began = time.monotonic()

    assert time.monotonic() - began > 4


def test_an_artifact_that_was_recorded_without_an_entity_is_lost(wandb_server, sync, tmp_path):
    settings = wandb.Settings(mode="offline", root_dir=str(tmp_path))
    with wandb.init(project="quora", id="one", settings=settings) as run:
        run.log_artifact(artifact("splits"))
    sync(tmp_path)

    assert wandb_server.state.run("one").exit_code == 0
    assert wandb_server.state.artifacts == {}
