"""A promotion as W&B shows it, whoever carries it out and whenever: by the local registry, with a stand-in for W&B."""

import os
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import wandb

from ml.cli import main
from ml.config import Config, TrackingConfig
from ml.errors import RegistryRefused
from ml.judge.decide import keep_decision
from ml.judge.row_scores import Scores, keep_scores
from ml.records import NoChampion, NoEvidence, Promotion
from ml.steps import run_step
from ml.tracking import expected, open_tracker, runs, unsent_runs
from tests.judge.examples import compare, judged, open_run, probed, store_model
from tests.wandb_server.state import ENTITY

CONFIG = Config(tracking=TrackingConfig(entity=ENTITY, project="quora", upload_seconds=60))
PAGE = "http://airflow.example/dags/retrain_quora/runs/run-1"
TITLE = "Promotion of v1 by run-1"


@pytest.fixture
def home(wandb_server, tmp_path, monkeypatch):
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    monkeypatch.setattr(expected, "ARRIVAL_SECONDS", 0)
    return tmp_path


@pytest.fixture
def run(home):
    return replace(open_run(home), run_url=PAGE, triggered_by="the timetable")


@pytest.fixture
def records(run):
    """What `promote` is given, with all that the store has of it."""
    store = run.store
    comparison = compare(store_model(store, "first"), NoChampion())
    decision, probe = judged(comparison), probed(comparison)
    rows, positives = comparison.candidate.rows, comparison.candidate.positives
    with store.staging() as folder:
        texts = [f"question {number}" for number in range(rows)]
        pd.DataFrame({"question_text": texts}).to_parquet(folder / "rows.parquet")
        store.commit(folder, "splits", comparison.candidate.test)
    scores = np.linspace(1, 0, rows)
    keep_scores(
        store,
        comparison,
        Scores(
            qid=np.array(texts),
            target=(np.arange(rows) < positives).astype(np.int64),
            by_model={"candidate": scores, "baseline": scores},
        ),
    )
    keep_decision(store, decision, CONFIG.policy, NoEvidence(), probe)
    return comparison, decision, probe


def promote(home, run, records, config=CONFIG):
    return run_step("promote", config, run, records, open_tracker(os.environ, home))


@contextmanager
def registry_away(home):
    (home / "registry").touch()
    yield
    (home / "registry").unlink()


def titles(server):
    return [report["displayName"] for report in server.state.reports.values()]


def left(home):
    return [path.name for path in home.glob("wandb/*run-*") if path.is_dir() and not path.is_symlink()]


def test_a_promotion_has_one_report_however_often_it_is_carried_out(home, wandb_server, run, records):
    for _ in range(2):
        assert isinstance(promote(home, run, records), Promotion)

    assert titles(wandb_server) == [TITLE]
    assert left(home) == []


def test_a_promotion_that_was_pending_is_shown_as_the_step_of_its_own_run(home, wandb_server, run, records):
    with registry_away(home), pytest.raises(RegistryRefused):
        promote(home, run, records)

    assert main(["promote", "--pending", "--run-id", "by-hand"]) == 0

    failed, finished = wandb_server.state.runs.values()
    assert (failed.exit_code, failed.summary["failure"]) == (1, "RegistryRefused")
    assert (finished.place.project, finished.group, finished.job_type, finished.exit_code) == (
        "quora",
        "run-1",
        "promote",
        0,
    )
    assert finished.settings["run"] == {"id": "run-1", "url": PAGE, "triggered_by": "the timetable"}
    state = wandb_server.state
    assert {state.artifacts[used].place.name for used in finished.used} == {
        "evaluation",
        "decision",
        "insincere-questions",
    }
    assert state.version("promotion", "latest").id in finished.logged
    assert titles(wandb_server) == [TITLE]
    assert PAGE in next(iter(state.reports.values()))["spec"]


@pytest.mark.parametrize("operation", ["upsertView", "ProjectViews", "CommitArtifact", "*"])
def test_a_report_that_could_not_be_written_is_made_up_for_after_a_later_step(
    wandb_server, run, records, operation, caplog
):
    home = run.reports.parent
    config = replace(CONFIG, tracking=replace(CONFIG.tracking, upload_seconds=4))
    wandb_server.fail(operation, status=500)
    with pytest.MonkeyPatch.context() as hasty:
        hasty.setattr(runs, "CONNECT_SECONDS", 2)
        hasty.setattr(unsent_runs, "CONNECT_SECONDS", 2)
        hasty.setattr(wandb.Api, "_HTTP_TIMEOUT", 2)
        promote(home, run, records, config)
    assert titles(wandb_server) == []
    assert "1 runs wait on disk, and are sent after a later step" in caplog.text

    wandb_server.mend()
    with open_tracker(os.environ, home).track("snapshot", CONFIG, run, []):
        pass

    assert titles(wandb_server) == [TITLE]
    assert left(home) == []


def test_a_report_that_is_refused_is_named_and_in_nobodys_way(home, wandb_server, run, records, caplog):
    wandb_server.fail("upsertView", status=403)
    for _ in range(2):
        promote(home, run, records)

    assert "W&B did not take the report of the run promote run-1, which stays whole in wandb/" in caplog.text


def test_a_model_that_was_not_promoted_has_no_report(home, wandb_server, run, records):
    promote(home, replace(run, dry_run=True), records)

    assert titles(wandb_server) == []
    assert left(home) == []
