import json
import logging
import threading
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
import wandb

from ml.champion.promote import promote
from ml.cli import main
from ml.config import Config
from ml.errors import (
    ConfigError,
    LineageError,
    PromotionPending,
    RegistryConflict,
    RegistryDamaged,
    RegistryRefused,
    RegistryUnavailable,
)
from ml.records import Gains, Interval, ModelVersion, NoChampion, to_json
from ml.registry import CHAMPION_ALIAS
from ml.registry.local import LocalRegistry
from ml.registry.open import open_registry
from ml.registry.wandb.address import Address, parse_address
from ml.steps import promote_pending
from ml.store import Store
from ml.store.files import tree_digest
from tests.contracts.test_registry import DECISION, ENTRY, write_artifact
from tests.judge.examples import compare, compare_next, judged, open_run, probed, store_model
from tests.wandb_server import KEY
from tests.wandb_server.state import ENTITY, ORGANIZATION_ENTITY, Place

FIRST, SECOND, THIRD = (ModelVersion(version=f"v{number}", model=str(number) * 64) for number in range(3))
MODEL = Place(ENTITY, "quora", "insincere")
LINKED = Place(ORGANIZATION_ENTITY, "wandb-registry-model", "insincere")
LINK = "link=wandb-registry-model/insincere"


@pytest.fixture
def open_here(wandb_server, tmp_path):
    def open_with(options=""):
        return open_registry(f"wandb://acme/quora/insincere?{options}", Store(tmp_path / "store"))

    return open_with


@pytest.fixture
def registry(open_here):
    return open_here()


@pytest.fixture
def hasty(open_here):
    """Make a registry that gives up after a short time, for what must fail; what must succeed has `registry`'s time."""
    return open_here("timeout_seconds=1&transfer_seconds=2")


@pytest.fixture
def state(wandb_server):
    """Fill the server with three versions; the first is the champion."""
    state = wandb_server.state
    state.put("insincere", {"weights": b"first"}, schema=1, model=FIRST.model, aliases=[CHAMPION_ALIAS])
    state.put("insincere", {"weights": b"second"}, schema=1, model=SECOND.model)
    state.put("insincere", {"weights": b"third"}, schema=1, model=THIRD.model)
    return state


def moved_to(state, version):
    """Return a function that moves the alias on the server, as another process would."""
    return lambda _: state.move(MODEL, CHAMPION_ALIAS, state.version("insincere", version))


def aliased(state, place=MODEL):
    return state.find(place, CHAMPION_ALIAS).facts["model"]


# The registry's address


def test_an_address_names_entity_project_model_and_what_else_there_is():
    assert parse_address(f"wandb://acme/quora/insincere?{LINK}&timeout_seconds=5") == Address(
        entity="acme",
        project="quora",
        model="insincere",
        link="wandb-registry-model/insincere",
        timeout_seconds=5.0,
        transfer_seconds=3600.0,
    )


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("wandb://acme/quora", "an entity, a project and a model"),
        ("wandb://acme/quora/in sincere", "an entity, a project and a model"),
        ("wandb:///quora/insincere", "an entity, a project and a model"),
        ("wandb://acme/quora/insincere/v3", "an entity, a project and a model"),
        ("wandb://acme/quora/insincere?linked=yes", "after the question mark"),
        ("wandb://acme/quora/insincere?link=insincere", "the link is not"),
        ("wandb://acme/quora/insincere?link=", "the link is not"),
        ("wandb://acme/quora/insincere?timeout_seconds=soon", "timeout_seconds is not a number"),
        ("wandb://acme/quora/insincere?transfer_seconds=0", "transfer_seconds is not between"),
        ("wandb://acme/quora/insincere?timeout_seconds=nan", "timeout_seconds is not between"),
    ],
)
def test_an_address_that_cannot_be_read_is_an_error_that_names_the_setting(url, what):
    with pytest.raises(ConfigError, match=what) as raised:
        parse_address(url)

    assert raised.value.where == "SINCERE_REGISTRY"


def test_opening_asks_nothing(wandb_server, registry):
    assert wandb_server.requests == []


def test_without_a_key_nothing_is_asked_on_the_terminal(wandb_server, registry, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")

    with pytest.raises(ConfigError, match="wandb_default"):
        registry.resolve(CHAMPION_ALIAS)


# Which model is the champion: found, proven absent, or unknown


def test_a_champion_is_found(state, registry):
    assert registry.resolve(CHAMPION_ALIAS) == FIRST


def test_a_project_without_models_has_no_champion(wandb_server, registry):
    wandb_server.state.put("questions", {"train.csv": b""}, type_="dataset")

    assert registry.resolve(CHAMPION_ALIAS) == NoChampion()


def test_a_project_with_another_model_has_no_champion(wandb_server, registry):
    wandb_server.state.put("another", {"weights": b""}, aliases=[CHAMPION_ALIAS])

    assert registry.resolve(CHAMPION_ALIAS) == NoChampion()


def test_versions_without_the_alias_are_no_champion(state, registry):
    state.remove(MODEL, CHAMPION_ALIAS, state.version("insincere", "v0"))

    assert registry.resolve(CHAMPION_ALIAS) == NoChampion()


def test_an_entity_that_the_account_does_not_belong_to_is_unknown(wandb_server, tmp_path):
    registry = open_registry("wandb://elsewhere/quora/insincere", Store(tmp_path))

    with pytest.raises(RegistryUnavailable, match="does not belong to elsewhere"):
        registry.resolve(CHAMPION_ALIAS)


@pytest.mark.parametrize("status", [404, 409, 429, 500])
def test_a_server_that_fails_is_never_an_absent_champion(wandb_server, state, hasty, status):
    wandb_server.fail(status=status)

    with pytest.raises(RegistryUnavailable, match="no definite answer"):
        hasty.resolve(CHAMPION_ALIAS)


@pytest.mark.parametrize("how", [{"delay_seconds": 2}, {"cut": True}, {"message": "told to fail"}], ids=str)
def test_a_server_that_is_slow_breaks_off_or_objects_is_never_an_absent_champion(wandb_server, state, hasty, how):
    wandb_server.fail("ArtifactCollectionAliases", **how)

    with pytest.raises(RegistryUnavailable, match="no definite answer"):
        hasty.resolve(CHAMPION_ALIAS)


@pytest.mark.parametrize(
    "operation",
    [
        "Viewer",
        "GetProjects",
        "ProjectArtifactTypes",
        "ArtifactTypeArtifactCollections",
        "ProjectArtifactCollection",
        "ArtifactCollectionAliases",
        "ArtifactMembershipByName",
    ],
)
def test_each_question_on_the_way_to_the_champion_may_be_refused(wandb_server, state, registry, operation):
    wandb_server.fail(operation, status=403)

    with pytest.raises(RegistryRefused, match="HTTP status 403"):
        registry.resolve(CHAMPION_ALIAS)


def test_a_key_that_expired_is_never_an_absent_champion_and_is_not_told(wandb_server, state, registry, caplog, capfd):
    wandb_server.key = "another"

    with pytest.raises(RegistryRefused, match="HTTP status 401") as raised:
        registry.resolve(CHAMPION_ALIAS)

    assert KEY not in f"{raised.value}{caplog.text}{''.join(capfd.readouterr())}"


def test_a_version_that_somebody_else_put_there_is_no_champion_that_we_can_take(wandb_server, registry):
    wandb_server.state.put("insincere", {"weights": b"unknown"}, aliases=[CHAMPION_ALIAS])

    with pytest.raises(RegistryDamaged, match="v0 does not say which model it is"):
        registry.resolve(CHAMPION_ALIAS)


@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY} "], ids=["a newline", "spaces"])  # no key in a process's title
def test_a_key_with_white_space_around_it_is_taken_as_the_client_would(wandb_server, registry, monkeypatch, key):
    monkeypatch.setenv("WANDB_API_KEY", key)
    assert registry.resolve(CHAMPION_ALIAS) == NoChampion()


def test_a_login_in_netrc_is_taken_as_the_client_would(wandb_server, registry, monkeypatch, tmp_path):
    host = urlsplit(wandb_server.url).netloc
    (tmp_path / "netrc").write_text(f"machine {host}\n  login user\n  password {KEY}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY")
    assert registry.resolve(CHAMPION_ALIAS) == NoChampion()


# Versions come in whole, or not at all


def test_what_a_version_says_of_itself_is_its_digest(wandb_server, registry, tmp_path):
    artifact, model = write_artifact(tmp_path, "first")

    registry.register(artifact, model)

    version = wandb_server.state.version("insincere", "v0")
    assert version.facts == {"model": model, "schema": 1}
    assert sorted(version.files) == ["model.json", "saved_model/weights"]


def test_files_that_somebody_else_uploaded_are_recognised(wandb_server, registry, tmp_path):
    artifact, model = write_artifact(tmp_path, "first")
    wandb_server.state.put(
        "insincere", {"saved_model/weights": b"first", "model.json": b"{}"}, schema=1, model=model, by="training"
    )

    assert registry.register(artifact, model) == ModelVersion(version="v0", model=model)
    assert wandb_server.state.version("insincere", "candidate").facts == {"model": model, "schema": 1, "by": "training"}
    assert "upload" not in wandb_server.requests


def test_files_that_somebody_else_uploaded_by_hand_become_a_version_of_ours(wandb_server, registry, tmp_path):
    artifact, model = write_artifact(tmp_path, "first")
    with wandb.init(entity=ENTITY, project="quora") as run:
        by_hand = wandb.Artifact("insincere", type="model", metadata={"by": "hand"})
        by_hand.add_dir(str(artifact))
        run.log_artifact(by_hand).wait()

    assert registry.register(artifact, model) == ModelVersion(version="v0", model=model)
    assert wandb_server.state.version("insincere", "candidate").facts == {"model": model, "schema": 1, "by": "hand"}


def test_the_run_that_registers_tells_nothing_of_this_machine(wandb_server, registry, tmp_path):
    registry.register(*write_artifact(tmp_path, "first"))

    (run,) = wandb_server.state.runs.values()
    assert (run.job_type, run.settings, run.exit_code) == ("register", {}, 0)
    assert (run.host, run.program) == ("", "python -m ml")
    assert set(run.files) <= {"wandb-summary.json", "config.yaml"}
    assert str(tmp_path).encode() not in b"".join(run.files.values())


def test_a_run_of_the_step_s_own_goes_on(wandb_server, registry, tmp_path):
    with wandb.init(entity=ENTITY, project="quora", id="own") as run:
        run.log({"loss": 0.5})
        registry.register(*write_artifact(tmp_path, "first"))
        assert wandb.run is run
        run.log({"loss": 0.25})

    assert [row["loss"] for row in wandb_server.state.run("own").history] == [0.5, 0.25]


def test_an_upload_that_is_cut_off_is_resumed(wandb_server, registry, tmp_path):
    artifact, model = write_artifact(tmp_path, "first")
    wandb_server.fail("upload", cut=True, times=1)

    registry.register(artifact, model)

    assert wandb_server.state.content(wandb_server.state.version("insincere", "v0"), "saved_model/weights") == b"first"


@pytest.mark.parametrize("operation", ["upload", "CreateArtifact", "CommitArtifact", "UpsertBucket"])
def test_an_upload_that_fails_leaves_no_version_and_can_be_done_again(
    wandb_server, registry, hasty, tmp_path, operation
):
    artifact, model = write_artifact(tmp_path, "first")
    wandb_server.fail(operation, status=403)

    with pytest.raises(RegistryUnavailable):
        hasty.register(artifact, model)
    assert wandb_server.state.collections == {}

    wandb_server.mend()
    assert registry.register(artifact, model) == ModelVersion(version="v0", model=model)


def test_an_upload_that_the_server_never_takes_ends_in_time(wandb_server, hasty, tmp_path):
    wandb_server.fail("upload", status=500)

    with pytest.raises(RegistryUnavailable):
        hasty.register(*write_artifact(tmp_path, "first"))

    assert wandb_server.state.collections == {}


# Versions are downloaded once, and verified


@pytest.fixture
def registered(registry, tmp_path):
    """Register a version on another machine: the store here does not have it."""
    return registry.register(*write_artifact(tmp_path, "first"))


def test_what_was_downloaded_is_not_downloaded_again(wandb_server, registry, registered):
    registry.fetch("v0")
    downloads = wandb_server.requests.count("download")
    registry.fetch("v0")

    assert wandb_server.requests.count("download") == downloads > 0


def test_a_download_that_was_changed_here_is_replaced(registry, registered):
    (registry.fetch("v0") / "model.json").write_text("changed", encoding="utf-8")

    assert tree_digest(registry.fetch("v0")) == registered.model


@pytest.mark.parametrize("how", [{"status": 403}, {"status": 500}, {"cut": True}], ids=str)
def test_a_download_that_fails_leaves_nothing(wandb_server, registry, registered, tmp_path, how):
    wandb_server.fail("download", **how)

    with pytest.raises(RegistryUnavailable):
        registry.fetch("v0")

    assert not Store(tmp_path / "store").contains("models", registered.model)


def test_files_that_are_not_those_of_the_digest_are_refused(state, registry, tmp_path):
    with pytest.raises(RegistryDamaged, match="not those that were registered"):
        registry.fetch("v0")

    assert not Store(tmp_path / "store").contains("models", FIRST.model)


def test_a_file_that_climbs_out_of_its_folder_is_refused(wandb_server, registry, tmp_path):
    wandb_server.state.put("insincere", {"../../climbed": b"first"}, schema=1, model=FIRST.model)

    with pytest.raises(RegistryDamaged, match="outside its folder"):
        registry.fetch("v0")

    assert not list(tmp_path.rglob("climbed"))


# The alias


def test_the_alias_is_moved_by_one_request_and_never_nowhere(wandb_server, state, registry):
    registry.move_alias(CHAMPION_ALIAS, "v1", expected=FIRST)

    assert [move for move in state.moves if move[1] == CHAMPION_ALIAS] == [
        (MODEL, CHAMPION_ALIAS, "v0"),
        (MODEL, CHAMPION_ALIAS, "v1"),
    ]
    assert wandb_server.requests.count("AddAliases") == 1
    assert "DeleteAliases" not in wandb_server.requests


def test_an_alias_that_somebody_else_moved_before_our_last_look_stays_there(wandb_server, state, registry):
    wandb_server.before("ArtifactCollectionAliases", moved_to(state, "v2"))

    with pytest.raises(RegistryConflict, match="points at v2, not at v0 any more"):
        registry.move_alias(CHAMPION_ALIAS, "v1", expected=FIRST)

    assert aliased(state) == THIRD.model


def test_an_alias_that_somebody_else_moved_right_after_us_stays_there(wandb_server, state, registry):
    wandb_server.before("UpdateArtifact", moved_to(state, "v2"))

    with pytest.raises(RegistryConflict, match="points at v2, not at v1 any more"):
        registry.move_alias(CHAMPION_ALIAS, "v1", expected=FIRST)

    assert aliased(state) == THIRD.model


@pytest.mark.parametrize("operation", ["AddAliases", "UpdateArtifact"])
def test_a_move_that_was_not_answered_succeeds_on_the_next_try(wandb_server, state, registry, hasty, operation):
    wandb_server.fail(operation, status=500)
    with pytest.raises(RegistryUnavailable):
        hasty.move_alias(CHAMPION_ALIAS, "v1", expected=FIRST)

    wandb_server.mend()
    registry.move_alias(CHAMPION_ALIAS, "v1", expected=FIRST)

    assert aliased(state) == SECOND.model


def test_an_alias_that_the_account_may_not_set_is_an_error_that_names_the_right(wandb_server, state, registry):
    wandb_server.fail("AddAliases", status=403)

    with pytest.raises(RegistryRefused, match=f"may not set the alias {CHAMPION_ALIAS}"):
        registry.move_alias(CHAMPION_ALIAS, "v1", expected=FIRST)


def test_a_version_of_another_schema_is_one_clear_error(wandb_server, registry):
    wandb_server.state.put("insincere", {"weights": b"first"}, schema=2, model=FIRST.model, aliases=[CHAMPION_ALIAS])

    with pytest.raises(RegistryDamaged, match="v0 is not of schema 1"):
        registry.resolve(CHAMPION_ALIAS)


def test_the_metadata_of_a_version_stays_as_it_is_when_it_becomes_the_champion(wandb_server, registry):
    wandb_server.state.put(
        "insincere", {"weights": b"first"}, schema=1, model=FIRST.model, note="from the training run"
    )

    registry.move_alias(CHAMPION_ALIAS, "v0", expected=NoChampion())

    assert wandb_server.state.version("insincere", "v0").facts == {
        "schema": 1,
        "model": FIRST.model,
        "note": "from the training run",
    }


def test_of_two_who_share_a_store_and_move_the_alias_at_once_one_wins_and_the_other_is_told(
    wandb_server, state, open_here
):
    wandb_server.fail("AddAliases", delay_seconds=0.5, times=1)
    start, outcome = threading.Barrier(2), {}

    def race(version):
        registry = open_here()
        expected = registry.resolve(CHAMPION_ALIAS)
        start.wait()
        try:
            registry.move_alias(CHAMPION_ALIAS, version, expected=expected)
            outcome["won"] = version
        except RegistryConflict:
            outcome["told"] = version

    racers = [threading.Thread(target=race, args=(version,)) for version in ("v1", "v2")]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    assert sorted(outcome) == ["told", "won"]
    assert state.version("insincere", CHAMPION_ALIAS) is state.version("insincere", outcome["won"])


# A whole promotion


@pytest.mark.parametrize("operation", ["UpsertBucket", "CommitArtifact", "AddAliases"])
@pytest.mark.parametrize(
    "how",
    [*({"status": status} for status in (404, 409, 429, 500)), {"delay_seconds": 3}, {"cut": True}],
    ids=str,
)
def test_a_promotion_that_fails_anywhere_is_pending_and_is_then_carried_out_once(  # noqa: PLR0917
    wandb_server, registry, hasty, tmp_path, operation, how
):
    run = replace(open_run(tmp_path), registry=registry)
    comparison = compare(store_model(run.store, "first"), NoChampion())
    records = comparison, judged(comparison), probed(comparison)
    wandb_server.fail(operation, **how)
    with pytest.raises(PromotionPending):
        promote(Config(), replace(run, registry=hasty), *records)
    assert registry.history() == []

    wandb_server.mend()
    assert list(promote_pending(run)) == ["run-1"]

    state = wandb_server.state
    assert state.version("insincere", CHAMPION_ALIAS).facts["model"] == comparison.candidate.model
    assert len(state.listed(state.collection("insincere"))) == len(registry.history()) == 1


def test_work_offline_is_for_runs_and_a_promotion_still_asks_the_registry(
    wandb_server, registry, hasty, tmp_path, monkeypatch
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = replace(open_run(tmp_path), registry=registry)
    comparison = compare(store_model(run.store, "first"), NoChampion())
    records = comparison, judged(comparison), probed(comparison)
    wandb_server.fail(status=500)
    with pytest.raises(PromotionPending, match="W&B gave no definite answer"):
        promote(Config(), replace(run, registry=hasty), *records)

    wandb_server.mend()
    assert promote(Config(), run, *records).version == "v0"
    assert wandb_server.state.version("insincere", CHAMPION_ALIAS).facts["model"] == comparison.candidate.model


# The W&B Registry


def test_a_champion_is_linked_with_its_alias(state, open_here):
    open_here(LINK).move_alias(CHAMPION_ALIAS, "v1", expected=FIRST)

    assert aliased(state, LINKED) == SECOND.model


def test_a_protected_alias_is_an_error_that_names_the_right_and_nothing_has_moved(state, open_here):
    state.protected.add((LINKED.project, CHAMPION_ALIAS))

    with pytest.raises(RegistryRefused, match="may not set the protected alias production") as raised:
        open_here(LINK).move_alias(CHAMPION_ALIAS, "v1", expected=FIRST)

    assert raised.value.where == "W&B Registry, wandb-registry-model/insincere"
    assert aliased(state) == FIRST.model


def test_a_protected_alias_leaves_a_registry_without_champion_without_one(state, open_here):
    state.remove(MODEL, CHAMPION_ALIAS, state.version("insincere", "v0"))
    state.protected.add((LINKED.project, CHAMPION_ALIAS))
    registry = open_here(LINK)

    with pytest.raises(RegistryRefused):
        registry.move_alias(CHAMPION_ALIAS, "v1", expected=NoChampion())

    assert registry.resolve(CHAMPION_ALIAS) == NoChampion()


def test_a_link_that_was_not_answered_is_made_on_the_next_try(wandb_server, state, open_here):
    wandb_server.fail("LinkArtifact", status=500)
    with pytest.raises(RegistryUnavailable):
        open_here(f"{LINK}&timeout_seconds=1").move_alias(CHAMPION_ALIAS, "v1", expected=FIRST)

    wandb_server.mend()
    open_here(LINK).move_alias(CHAMPION_ALIAS, "v1", expected=FIRST)

    assert aliased(state) == aliased(state, LINKED) == SECOND.model


# The history


def test_an_entry_is_kept_with_its_grounds_in_the_group_of_its_run(wandb_server, registry):
    registry.record(ENTRY, DECISION)

    state = wandb_server.state
    version = state.version("insincere-history", "v0")
    assert state.content(version, "entry.json").decode() == to_json(ENTRY)
    assert state.content(version, "decision.json").decode() == to_json(DECISION)
    assert state.run(version.run).group == ENTRY.run_id


def test_figures_come_back_to_the_last_digit(registry):
    entry = replace(ENTRY, precision=0.1 + 0.2, recall=1.0, f1=2 / 3, average_precision=5e-324)

    registry.record(entry, DECISION)

    assert list(registry.history()) == [entry]


def test_the_model_that_a_decision_is_about_bears_it(state, registry):
    decision = replace(DECISION, candidate=SECOND.model)

    registry.record(ENTRY, decision)

    assert [state.version("insincere", f"v{number}").facts.get("decision") for number in range(3)] == [
        None,
        to_json(decision),
        None,
    ]
    assert aliased(state) == FIRST.model


def test_neither_of_two_who_record_at_once_loses_an_entry(wandb_server, registry):
    theirs = replace(ENTRY, run_id="run-2")
    wandb_server.before(
        "CommitArtifact",
        lambda state: state.put("insincere-history", {"x": b""}, type_="decision", entry=to_json(theirs)),
    )

    registry.record(ENTRY, DECISION)

    assert list(registry.history()) == [theirs, ENTRY]


def test_an_entry_that_two_recorded_at_once_is_read_once(wandb_server, registry):
    theirs = replace(ENTRY, time="2026-01-03T23:59:59+00:00")
    wandb_server.before(
        "CommitArtifact",
        lambda state: state.put("insincere-history", {"x": b""}, type_="decision", entry=to_json(theirs)),
    )

    registry.record(ENTRY, DECISION)

    assert list(registry.history()) == [theirs]


def test_an_entry_that_cannot_be_read_is_named(wandb_server, registry):
    wandb_server.state.put("insincere-history", {"x": b""}, type_="decision", entry="{}")

    with pytest.raises(RegistryDamaged, match="entry v0 of the history"):
        registry.history()


def test_more_entries_than_a_page_of_the_listing_holds_come_back_in_order(wandb_server, registry):
    entries = [replace(ENTRY, run_id=f"run-{number}") for number in range(201)]
    for entry in entries:
        wandb_server.state.put(
            "insincere-history", {"x": entry.run_id.encode()}, type_="decision", entry=to_json(entry)
        )

    assert list(registry.history()) == entries
    assert wandb_server.requests.count("ProjectArtifacts") == 2


def test_the_page_of_the_history_has_a_row_for_each_decision_and_charts_by_version(wandb_server, state, registry):
    gain = Interval(difference=0.012, lower=-0.003, upper=0.027)
    gains = Gains(confidence=0.95, precision=gain, recall=gain, f1=gain)
    kept = replace(ENTRY, run_id="run-2", promoted=False, verdict="keep", version="v2", previous=SECOND, gains=gains)

    registry.record(replace(ENTRY, version="v1"), DECISION)
    registry.record(kept, DECISION)

    page = wandb_server.state.run("promotion-history-insincere")
    table = read_table(page, "decisions")
    shown = ("run", "verdict", "candidate", "champion before", "champion after", "recall", "gain in F1")
    assert [[row[name] for name in shown] for row in table] == [
        ["run-1", "promote", "v1", "none", "v1", 0.6, "none"],
        ["run-2", "keep", "v2", "v1", "v1", 0.6, "+0.0120 (-0.0030 to +0.0270, 90%)"],
    ]
    assert table[1]["model"] == f"{wandb_server.url}/acme/quora/artifacts/model/insincere/v2"
    assert [(row["step"], row["lineVal"]) for row in read_table(page, "precision by version_table")] == [
        (1, 0.7),
        (2, 0.7),
    ]
    assert page.exit_code == 0


def test_a_page_that_cannot_be_drawn_is_a_warning(wandb_server, tmp_path, caplog):
    registry = open_registry("wandb://acme/quora/another", Store(tmp_path))  # the client remembers a failed start
    wandb_server.fail("RunResumeStatus", status=403)

    with caplog.at_level(logging.WARNING, "ml"):
        registry.record(ENTRY, DECISION)

    assert "the history's page in W&B is not up to date" in caplog.text
    assert list(registry.history()) == [ENTRY]


def test_the_command_line_shows_the_same_history_as_from_a_folder(registry, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    shown = []
    for url, each in (("wandb://acme/quora/insincere", registry), ("file:" + str(tmp_path), LocalRegistry(tmp_path))):
        each.record(ENTRY, DECISION)
        monkeypatch.setenv("SINCERE_REGISTRY", url)
        assert main(["history"]) == 0
        shown.append(capsys.readouterr().out)

    assert "promote" in shown[0]
    assert shown[0] == shown[1]


def test_a_key_that_expired_waits_for_a_person_and_is_not_told(wandb_server, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    monkeypatch.setenv("SINCERE_REGISTRY", "wandb://acme/quora/insincere")
    wandb_server.key = "another"

    assert main(["history"]) == 65

    printed = "".join(capfd.readouterr())
    assert "HTTP status 401" in printed
    assert KEY not in printed


# Retention


def test_a_dropped_version_is_left_to_wandb_to_delete_and_is_not_when_it_comes_again(wandb_server, registry, tmp_path):
    first = registry.register(*write_artifact(tmp_path, "first"))
    registry.register(*write_artifact(tmp_path, "second"))

    registry.prune([])
    dropped = wandb_server.state.version("insincere", first.version)
    assert dropped.ttl_seconds == 24 * 3600

    registry.register(tmp_path / "artifact-first", first.model)
    assert dropped.ttl_seconds == -1


def test_a_version_with_an_alias_of_somebody_s_own_is_not_dropped(state, registry):
    state.move(MODEL, "for the paper", state.version("insincere", "v1"))

    assert list(registry.prune([])) == [THIRD]


def test_a_version_that_wandb_has_deleted_is_unknown(state, registry):
    state.version("insincere", "v1").state = "DELETED"

    with pytest.raises(LineageError, match="there is no version v1"):
        registry.fetch("v1")


# What aliases and history vouch for


def test_a_history_that_lost_the_entry_of_the_champion_stops_promotion_and_retention(wandb_server, registry, tmp_path):
    run = replace(open_run(tmp_path), registry=registry)
    comparison = compare(store_model(run.store, "first"), NoChampion())
    promote(Config(), run, comparison, judged(comparison), probed(comparison))
    later = compare_next(replace(run, run_id="run-2"), "second")
    wandb_server.state.version("insincere-history", "v0").state = "DELETED"

    with pytest.raises(RegistryDamaged, match="not what version v0 vouches for: 0 of 1 entries are there"):
        promote(Config(), replace(run, run_id="run-2"), later, judged(later), probed(later))

    assert len(wandb_server.state.listed(wandb_server.state.collection("insincere"))) == 1
    (wrong,) = registry.check()
    assert "have W&B restore what was deleted" in wrong


def test_the_check_proves_what_can_be_downloaded(state, registry):
    wrong = registry.check()

    assert sum("are not those that were registered" in each for each in wrong) == 3


def read_table(run, name):
    """Read the rows of a logged table, by column."""
    content = json.loads(run.files[run.summary[name]["path"]])
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
