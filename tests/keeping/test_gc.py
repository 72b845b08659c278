"""What the champion, its predecessors, replays and running runs need stays; the rest goes by age and size."""

import os
import re
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ml.champion.pending_promotions import Pending, keep_pending
from ml.champion.retention import mark_underway
from ml.config import Config, GcConfig, SourceConfig
from ml.data.rows import store_part
from ml.errors import LineageError, RegistryDamaged, RegistryRefused, RegistryUnavailable
from ml.keeping.gc import gc
from ml.keeping.logs import log_folders
from ml.records import RawSnapshot, RunOutcome
from ml.registry import CHAMPION_ALIAS
from ml.registry.open import open_registry
from ml.source.snapshot import snapshot
from ml.store.locks import locked
from tests.champion.test_pending_promotions import outage
from tests.contracts.test_crash import half_written, state
from tests.doomed import Death, doomed_processes
from tests.judge.examples import compare_next, judged, open_run, probed, store_model
from tests.keeping.homes import CONFIG, DAY, ROWS, age, promote_model, promoted, put
from tests.report.words.test_record_words import SPLITS

NEEDED = [("snapshots", "1" * 64), ("splits", "8" * 64), ("splits", "9" * 64), ("splits", "7" * 64)]
FREE = [("snapshots", "a" * 64), ("splits", "b" * 64), ("trainings", "c" * 64), ("scores", "d" * 64)]


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """Make a home whose champion is the third, all of it 100 days old; copy it for each test."""
    home = tmp_path_factory.mktemp("gc") / "home"
    run = promoted(home, "one", "two", "three")
    for kind, name in [*NEEDED, *FREE]:
        put(run, kind, name)
    (home / "reports" / "rollback_choices.json").write_text("{}")
    age(home, 100)
    return home


@pytest.fixture
def home(old, tmp_path):
    return shutil.copytree(old, tmp_path / "home")


def there(home, places):
    return [open_run(home).store.contains(*place) for place in places]


def removed(cleanup):
    return {each.kind: each.number for each in cleanup.removed if each.number}


def test_what_champion_predecessor_and_replay_need_stays_and_the_rest_goes(home, caplog):
    caplog.set_level("INFO")

    cleanup = gc(CONFIG, open_run(home))

    assert removed(cleanup) == {"snapshots": 1, "splits": 1, "trainings": 1, "scores": 1, "reports": 1}
    assert (there(home, NEEDED), there(home, FREE)) == ([True] * 4, [False] * 4)
    store, names = open_run(home).store, sorted(path.name for path in (home / "reports").iterdir())
    assert names == ["rollback_choices.json", "run-three", "run-two"]
    assert [len(store.names(kind)) for kind in ("decisions", "comparisons", "models")] == [3, 3, 2]
    assert f"went: snapshots/{'a' * 64}, " in caplog.text
    assert " bytes: unused for 100 days, more than 90" in caplog.text
    assert open_run(home).registry.check() == []


def test_a_second_time_there_is_nothing_to_do(home):
    gc(CONFIG, open_run(home))
    assert removed(gc(CONFIG, open_run(home))) == {}


def test_a_dry_run_says_what_would_go_and_changes_nothing(home, caplog):
    caplog.set_level("INFO")
    before = sorted(home.rglob("*"))

    told = gc(CONFIG, replace(open_run(home), dry_run=True))

    assert sorted(home.rglob("*")) == before
    assert told.dry_run
    assert caplog.text.count("would go: ") == 5
    assert replace(gc(CONFIG, open_run(home)), dry_run=True) == told


def test_what_is_young_stays_unless_there_is_too_much_of_it(home):
    age(home, 30)
    assert removed(gc(CONFIG, open_run(home))) == {}
    os.utime(home / "store" / "splits" / ("b" * 64))

    some = replace(CONFIG, gc=GcConfig(keep_bytes=0))

    assert removed(gc(some, open_run(home))) == {"snapshots": 1, "trainings": 1, "scores": 1, "reports": 1}


def test_the_oldest_goes_first_until_the_rest_fits(home):
    age(home, 30)
    first = home / "store" / "snapshots" / ("a" * 64)
    os.utime(first, (time.time() - 40 * DAY,) * 2)
    fits = _free_bytes(home)

    assert removed(gc(replace(CONFIG, gc=GcConfig(keep_bytes=fits)), open_run(home))) == {}
    assert removed(gc(replace(CONFIG, gc=GcConfig(keep_bytes=fits - 1)), open_run(home))) == {"snapshots": 1}


def _free_bytes(home):
    """The bytes of what nobody needs: a dry run that keeps none of it tells them."""
    nothing = replace(CONFIG, gc=GcConfig(keep_bytes=0))
    return sum(each.bytes for each in gc(nothing, replace(open_run(home), dry_run=True)).removed)


def test_what_a_run_that_has_not_ended_names_stays(home):
    run = open_run(home, "running")
    run.keep_for_page(
        RawSnapshot(source="file:a.csv", sha256="a" * 64, rows=3, columns=(), bytes=9, quarantined_rows=0)
    )
    assert removed(gc(CONFIG, run)) == {"splits": 1, "trainings": 1, "scores": 1, "reports": 1}
    assert there(home, FREE)[0]

    run.keep_for_page(RunOutcome(outcome="kept", step="promote", reason="no gain", lines=()))
    assert removed(gc(CONFIG, run)) == {"snapshots": 1}


def test_whatever_a_run_that_has_not_ended_has_come_to_stays(home):
    run = open_run(home, "running")
    put(run, "splits", "e" * 64)
    age(home, 100)
    parts = tuple(replace(part, digest="b" * 64) for part in SPLITS.parts)
    run.keep_for_page(replace(SPLITS, snapshot="a" * 64, parts=parts))
    comparison = compare_next(run, "another")
    run.keep_for_page(replace(comparison, candidate=replace(comparison.candidate, test="e" * 64)))
    run.keep_for_page(judged(comparison))

    assert removed(gc(CONFIG, run)) == {"trainings": 1, "scores": 1, "reports": 1}
    assert there(home, [*FREE, ("splits", "e" * 64)]) == [True, True, False, False, True]


def test_a_predecessor_that_retention_has_dropped_needs_no_rows(home):
    run = open_run(home)
    run.registry.prune([run.registry.resolve(CHAMPION_ALIAS).version])
    with pytest.raises(LineageError, match="retention dropped"):
        run.registry.fetch("v2")

    gc(CONFIG, run)

    assert (there(home, NEEDED), there(home, FREE)) == ([True] * 4, [False] * 4)


def test_a_run_that_failed_may_be_taken_up_again_for_a_month(home):
    run = open_run(home, "failed")
    run.keep_for_page(
        RawSnapshot(source="file:a.csv", sha256="a" * 64, rows=3, columns=(), bytes=9, quarantined_rows=0)
    )
    run.keep_for_page(RunOutcome(outcome="failed", step="train", reason="no room", lines=()))
    gc(CONFIG, run)
    assert there(home, FREE)[0]
    age(home, 32)
    assert removed(gc(replace(CONFIG, gc=GcConfig(keep_days=31)), run))["snapshots"] == 1


def test_who_uses_a_folder_again_keeps_it(home):
    assert open_run(home).store.use("snapshots", "a" * 64)
    assert "snapshots" not in removed(gc(CONFIG, open_run(home)))


def test_a_run_that_finds_old_rows_again_keeps_them(home, tmp_path):
    (tmp_path / "rows.csv").write_text("qid,question_text,target\na1,Why?,0\n")
    config, run = Config(source=SourceConfig(uri=str(tmp_path / "rows.csv"))), open_run(home, "again")
    pulled = snapshot(config, run)
    part = store_part(run.store, "test", ROWS)
    age(home, 100)

    assert (snapshot(config, run), store_part(run.store, "test", ROWS)) == (pulled, part)

    gc(CONFIG, run)
    assert there(home, [("snapshots", pulled.sha256), ("splits", part.digest)]) == [True, True]
    assert there(home, FREE) == [False] * 4


def test_a_folder_that_was_used_since_it_was_listed_stays(home):
    store = open_run(home).store
    listed = store.open("snapshots", "a" * 64).stat().st_mtime
    assert store.use("snapshots", "a" * 64)
    assert not store.drop_unused("snapshots", "a" * 64, since=listed)
    assert store.contains("snapshots", "a" * 64)


def test_models_that_wait_for_the_registry_or_a_verdict_stay(home):
    waits, underway = open_run(home, "waits"), open_run(home, "underway")
    comparison = compare_next(waits, "waits")
    keep_pending(waits, Pending(comparison, judged(comparison), probed(comparison), CONFIG))
    model = store_model(underway.store, "trained")
    mark_underway(underway, model)
    lost = store_model(underway.store, "lost")
    age(home / "store" / "models", 100)
    (home / "reports" / "underway").mkdir()
    _tell_trained(underway, model)

    assert removed(gc(CONFIG, waits))["models"] == 1
    assert [waits.store.contains("models", each) for each in (comparison.candidate.model, model, lost)] == [
        True,
        True,
        False,
    ]


def _tell_trained(run, model):
    trained = compare_next(run, "other").trained
    run.keep_for_page(replace(trained, model=model))


def test_checkpoints_go_after_their_own_time_and_never_while_somebody_trains(home):
    place = home / "store" / "checkpoints" / ("e" * 64)
    (place / "10").mkdir(parents=True)
    (place / "lock").touch()
    age(home, 40)

    with locked(place / "lock", waiting=""):
        assert removed(gc(CONFIG, open_run(home))) == {}
    age(home, 40)
    assert removed(gc(CONFIG, open_run(home))) == {"checkpoints": 1}


@pytest.mark.parametrize("content", [None, b"", b"\0\0"])
def test_where_the_history_is_lost_nothing_goes(home, content):
    history = home / "registry" / "history.jsonl"
    history.unlink() if content is None else history.write_bytes(content)
    before = sorted((home / "store").glob("*/*"))

    with pytest.raises(RegistryDamaged):
        gc(CONFIG, open_run(home))

    assert [path for path in before if not path.exists()] == []


def test_beside_another_registry_nothing_goes(home, tmp_path):
    run = open_run(home)
    empty = replace(run, registry=open_registry(f"file:{tmp_path / 'empty'}", run.store))
    with pytest.raises(RegistryDamaged, match="the history lacks an entry of run run-") as caught:
        gc(CONFIG, empty)
    assert "SINCERE_REGISTRY" in caught.value.fix
    assert there(home, FREE) == [True] * 4


def test_where_the_registry_does_not_answer_nothing_goes(home):
    with outage(home), pytest.raises((RegistryUnavailable, RegistryRefused)):
        gc(CONFIG, open_run(home))
    assert there(home, FREE) == [True] * 4


def test_beside_a_registry_in_wandb_the_same_stays(wandb_server, tmp_path):
    run = open_run(tmp_path / "home")
    run = replace(run, registry=open_registry("wandb://acme/quora/insincere", run.store))
    promote_model(run, store_model(run.store, "one"))
    for kind, name in [*NEEDED, *FREE]:
        put(run, kind, name)
    age(tmp_path / "home", 100)

    assert removed(gc(CONFIG, run)) == {"snapshots": 1, "splits": 1, "trainings": 1, "scores": 1}
    assert there(tmp_path / "home", NEEDED) == [True] * 4
    assert run.registry.check() == []


def test_where_a_decision_cannot_be_read_nothing_goes(home):
    next((home / "store" / "decisions").glob("*/decision.json")).write_text("{")
    with pytest.raises(LineageError):
        gc(CONFIG, open_run(home))
    assert there(home, FREE) == [True] * 4


def test_what_a_link_leads_to_stays(home, tmp_path, caplog):
    outside = shutil.copytree(home / "store" / "splits", tmp_path / "outside")
    (home / "reports" / "linked").symlink_to(outside)
    shutil.rmtree(home / "store" / "splits")
    (home / "store" / "splits").symlink_to(outside)
    (home / "store" / "snapshots" / "f").symlink_to(outside)

    gc(CONFIG, open_run(home))

    assert len(list(outside.rglob("*.parquet"))) == 4
    assert "a link leads out of the home" in caplog.text


def test_airflows_logs_go_by_age_and_no_other_file_there(home, tmp_path):
    logs = tmp_path / "logs"
    task = logs / "dag_id=retrain_quora" / "run_id=a" / "task_id=train"
    task.mkdir(parents=True)
    for name in ("attempt=1.log", "attempt=2.log.3", "notes.txt"):
        (task / name).write_text("line")
    (logs / "elsewhere.log").symlink_to(tmp_path / "other.log")
    (tmp_path / "other.log").write_text("line")
    (logs / "empty" / "deeper").mkdir(parents=True)
    age(tmp_path, 100)
    (task / "attempt=4.log").write_text("now")

    assert removed(gc(CONFIG, open_run(home), [logs]))["logs"] == 2

    assert sorted(path.name for path in task.iterdir()) == ["attempt=4.log", "notes.txt"]
    assert (tmp_path / "other.log").exists()
    assert not (logs / "empty" / "deeper").exists()


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({}, "home/airflow/logs"),
        ({"AIRFLOW_HOME": "{}/a"}, "a/logs"),
        ({"AIRFLOW_HOME": "{}/a", "AIRFLOW__LOGGING__BASE_LOG_FOLDER": "{}/b"}, "b"),
    ],
)
def test_the_logs_are_those_that_the_environment_names(tmp_path: Path, environment, folder):
    for place in ("home/airflow/logs", "a/logs", "b"):
        (tmp_path / place).mkdir(parents=True)
    told = {name: value.format(tmp_path) for name, value in environment.items()}
    assert log_folders(told, tmp_path / "home") == [tmp_path / folder]
    assert log_folders({}, tmp_path / "nowhere") == []


def test_a_clean_up_killed_at_any_removal_is_finished_by_the_next(old, tmp_path):
    command = ["gc", "--set=retention.predecessors=1"]
    with doomed_processes("ml.keeping.gc") as processes:
        undisturbed = shutil.copytree(old, tmp_path / "undisturbed")
        changes = processes.run(undisturbed, command).changes
        removals = [number for number, change in enumerate(changes, 1) if re.match("os.(rename|remove) ", change)]
        for number in removals[::4]:
            home = shutil.copytree(old, tmp_path / "home")
            assert processes.run(home, command, Death(number)).status == -signal.SIGKILL
            assert half_written(home, state(old), {}) == []
            assert processes.run(home, command).status == 0
            assert state(home) == state(undisturbed)
            shutil.rmtree(home)
    assert any("os.rename reports/.part/" in change for change in changes)
