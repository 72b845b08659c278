"""Promotions during an outage of the registry: a test puts sockets in place of its files, which cannot be opened."""

import os
import shutil
import stat
from contextlib import contextmanager
from dataclasses import replace

import pytest

from ml.champion.pending_promotions import pending_runs, read_pending
from ml.config import Config, SourceConfig, TrainConfig
from ml.config.redaction import public_settings
from ml.errors import (
    LineageError,
    PromotionPending,
    RegistryConflict,
    RegistryDamaged,
    RegistryRefused,
    RegistryUnavailable,
)
from ml.records import ModelVersion, NoChampion
from ml.registry import CHAMPION_ALIAS
from ml.registry.open import open_registry
from ml.report.words.verdict import read_verdict
from ml.steps import promote_pending, run_step
from tests.judge.examples import CHAMPION, RIVAL, compare, judged, open_run, probed, store_model
from tests.wandb_server.state import ORGANIZATION_ENTITY, Place


@contextmanager
def outage(home):
    registry, aside = home / "registry", home / "aside"
    if registry.exists():
        registry.rename(aside)
    registry.mkdir()
    for name in ("champion.lock", "lock", "aliases.json", "history.jsonl"):
        os.mknod(registry / name, stat.S_IFSOCK | 0o600)
    yield
    shutil.rmtree(registry)
    if aside.exists():
        aside.rename(registry)


def carry_out(run, comparison):
    return run_step("promote", Config(), run, (comparison, judged(comparison), probed(comparison)))


def first_candidate(run, content="first"):
    return compare(store_model(run.store, content), NoChampion())


def leave_pending(home, run_id, comparison):
    with outage(home), pytest.raises(PromotionPending):
        carry_out(open_run(home, run_id), comparison)


def test_a_promotion_that_gets_no_answer_is_pending_by_name(tmp_path):
    run = open_run(tmp_path)
    comparison = first_candidate(run)

    with outage(tmp_path), pytest.raises(PromotionPending, match=r"promotion pending: .*\n.*run run-1\n.*--pending"):
        carry_out(run, comparison)

    assert run.store.names("pending") == ["run-1"]
    assert read_verdict(run.report_folder).startswith("PROMOTION PENDING: There is no champion yet")


def test_an_outage_is_worth_a_retry():
    assert issubclass(PromotionPending, RegistryUnavailable)


def test_a_pending_promotion_is_finished_later_as_the_run_that_decided(tmp_path):
    run = open_run(tmp_path)
    comparison = first_candidate(run)
    leave_pending(tmp_path, "run-1", comparison)

    assert list(promote_pending(open_run(tmp_path, "by-hand"))) == ["run-1"]

    assert run.registry.resolve(CHAMPION_ALIAS) == ModelVersion(version="v1", model=comparison.candidate.model)
    (entry,) = run.registry.history()
    assert (entry.run_id, entry.triggered_by) == ("run-1", "command line")
    assert run.store.names("pending") == []
    assert read_verdict(run.report_folder).startswith("PROMOTE: ")


def test_the_task_run_again_finishes_it_too(tmp_path):
    run = open_run(tmp_path)
    comparison = first_candidate(run)
    leave_pending(tmp_path, "run-1", comparison)

    assert carry_out(run, comparison).promoted

    assert run.store.names("pending") == []
    assert len(run.registry.history()) == 1


def test_a_pending_promotion_whose_champion_was_replaced_is_told_and_pending_no_more(tmp_path):
    run = open_run(tmp_path, "run-0")
    first = first_candidate(run)
    carry_out(run, first)
    rival = replace(
        RIVAL,
        champion=ModelVersion(version="v1", model=first.candidate.model),
        evaluation=replace(CHAMPION, model=first.candidate.model),
    )
    overtaken, winner = (compare(store_model(run.store, content), rival) for content in ("second", "third"))
    leave_pending(tmp_path, "run-1", overtaken)
    carry_out(open_run(tmp_path, "run-2"), winner)

    with pytest.raises(RegistryConflict, match="points at v2, not at v1"):
        list(promote_pending(open_run(tmp_path, "by-hand")))

    assert run.registry.resolve(CHAMPION_ALIAS).model == winner.candidate.model
    assert run.store.names("pending") == []
    assert read_verdict(tmp_path / "reports" / "run-1").startswith("NOT PROMOTED: ")


def test_a_second_try_of_the_run_replaces_what_waits(tmp_path):
    run = open_run(tmp_path)
    leave_pending(tmp_path, "run-1", first_candidate(run))
    newer = first_candidate(run, "newer")
    leave_pending(tmp_path, "run-1", newer)

    list(promote_pending(run))

    assert run.registry.resolve(CHAMPION_ALIAS).model == newer.candidate.model


def test_pending_promotions_are_finished_in_the_order_of_their_decisions(tmp_path):
    run = open_run(tmp_path)
    for run_id in ("run-b", "run-a"):
        leave_pending(tmp_path, run_id, first_candidate(run))

    assert list(promote_pending(run)) == ["run-b", "run-a"]


def test_a_try_again_keeps_the_place_in_the_queue(tmp_path):
    run = open_run(tmp_path)
    waiting = {run_id: first_candidate(run, run_id) for run_id in ("run-b", "run-a")}
    for run_id in ("run-b", "run-a", "run-b"):
        leave_pending(tmp_path, run_id, waiting[run_id])

    assert pending_runs(run.store) == ["run-b", "run-a"]


def test_one_whose_model_is_gone_ends_with_a_verdict_and_stops_none_behind_it(tmp_path):
    run = open_run(tmp_path)
    lost, kept = first_candidate(run, "lost"), first_candidate(run, "kept")
    leave_pending(tmp_path, "run-1", lost)
    leave_pending(tmp_path, "run-2", kept)
    run.store.drop("models", lost.candidate.model)
    tried = promote_pending(open_run(tmp_path, "by-hand"))

    assert [next(tried), next(tried)] == ["run-1", "run-2"]
    with pytest.raises(LineageError, match=r"the files of the candidate, model .* are gone"):
        next(tried)

    verdict = read_verdict(tmp_path / "reports" / "run-1")
    assert verdict.startswith("FAILED: the step promote ended the run.")
    assert "can no longer be promoted" in verdict
    assert pending_runs(run.store) == []
    assert run.registry.resolve(CHAMPION_ALIAS).model == kept.candidate.model


def test_each_that_still_gets_no_answer_is_tried_and_waits_on(tmp_path):
    run = open_run(tmp_path)
    for run_id in ("run-1", "run-2"):
        leave_pending(tmp_path, run_id, first_candidate(run, run_id))

    with outage(tmp_path), pytest.raises(PromotionPending):
        list(promote_pending(run))

    assert pending_runs(run.store) == ["run-1", "run-2"]


@pytest.mark.parametrize("content", [b"", b"\0\0", b"[]", b"{}", b"\xff"])
@pytest.mark.parametrize("name", ["run.json", "decision.json"])
def test_one_that_cannot_be_read_ends_with_a_verdict(tmp_path, name, content):
    run = open_run(tmp_path)
    leave_pending(tmp_path, "run-1", first_candidate(run))
    (run.store.open("pending", "run-1") / name).write_bytes(content)

    with pytest.raises(LineageError):
        list(promote_pending(open_run(tmp_path, "by-hand")))

    assert pending_runs(run.store) == []
    assert read_verdict(run.report_folder).startswith("FAILED: the step promote ended the run.")


@pytest.mark.parametrize("name", [".nfs0000", ".DS_Store", "run-1~", ".run-1.swp"])
def test_a_stray_file_is_no_pending_promotion(tmp_path, name):
    run = open_run(tmp_path)
    leave_pending(tmp_path, "run-1", first_candidate(run))
    (tmp_path / "store" / "pending" / name).write_bytes(b"\0")
    (tmp_path / "store" / "pending" / "run-1" / name).write_bytes(b"\0")
    (tmp_path / "store" / "pending" / "lost+found").mkdir()

    assert list(promote_pending(run)) == ["run-1"]
    assert run.registry.resolve(CHAMPION_ALIAS).version == "v1"


def test_one_that_meets_a_damaged_registry_waits_until_that_is_mended(tmp_path):
    run = open_run(tmp_path, "run-0")
    carry_out(run, first_candidate(run))
    history = tmp_path / "registry" / "history.jsonl"
    whole = history.read_bytes()
    history.write_bytes(b"")
    candidate = compare(store_model(run.store, "second"), NoChampion(), precision=0.1)

    with pytest.raises(RegistryDamaged, match=r"registry check.*promote --pending"):
        carry_out(open_run(tmp_path), candidate)
    assert read_verdict(tmp_path / "reports" / "run-1").startswith("PROMOTION PENDING: ")

    history.write_bytes(whole)
    assert list(promote_pending(run)) == ["run-1"]
    assert [entry.verdict for entry in run.registry.history()] == ["promote", "blocked"]


def test_a_dry_run_leaves_nothing_pending(tmp_path):
    run = replace(open_run(tmp_path), dry_run=True)

    carry_out(run, first_candidate(run))

    assert run.store.names("pending") == []


def test_a_promotion_that_is_not_allowed_waits_for_the_right(wandb_server, tmp_path):
    run = open_run(tmp_path)
    address = "wandb://acme/quora/insincere?link=wandb-registry-model/insincere"
    run = replace(run, registry=open_registry(address, run.store))
    protected = (Place(ORGANIZATION_ENTITY, "wandb-registry-model", "insincere").project, CHAMPION_ALIAS)
    wandb_server.state.protected.add(protected)

    with pytest.raises(RegistryRefused):
        carry_out(run, first_candidate(run))

    verdict = read_verdict(run.report_folder)
    assert verdict.startswith("PROMOTION PENDING: There is no champion yet")
    assert "may not set the protected alias production" in verdict
    wandb_server.state.protected.clear()
    assert list(promote_pending(run)) == [run.run_id]
    assert run.registry.resolve(CHAMPION_ALIAS).version == "v0"


def test_a_pending_promotion_is_finished_as_its_own_run_by_its_own_settings(tmp_path):
    config = replace(
        Config(), source=SourceConfig(uri="https://me:sesame@example.com/a.csv"), train=TrainConfig(epochs=9)
    )
    asked = replace(open_run(tmp_path), triggered_by="the timetable", run_url="http://airflow/run-1", force=True)
    comparison = first_candidate(asked)
    with outage(tmp_path), pytest.raises(PromotionPending):
        run_step("promote", config, asked, (comparison, judged(comparison), probed(comparison)))

    pending, own = read_pending(open_run(tmp_path, "by-hand"), "run-1")

    assert own == replace(asked, registry=own.registry, store=own.store)
    assert public_settings(pending.config) == public_settings(config)
    assert b"sesame" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*.json"))
