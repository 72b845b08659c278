from dataclasses import replace

import pytest

from ml.champion.retention import retain
from ml.config import RetentionConfig
from ml.errors import RegistryConflict, RegistryDamaged
from ml.records import NoChampion, Rollback, digest, to_json
from ml.registry import CHAMPION_ALIAS
from ml.registry.alias_move import Move, kept_moves, move_champion, record_cut_off
from tests.judge.examples import FIRST_ENTRY, open_run, store_model


def register(run, content):
    model = store_model(run.store, content)
    return run.registry.register(run.store.open("models", model), model)


@pytest.fixture
def home(tmp_path):
    """The versions v1, the champion by the history, and v2."""
    run = open_run(tmp_path)
    first = register(run, "first")
    register(run, "second")
    run.registry.move_alias(CHAMPION_ALIAS, first.version, expected=NoChampion())
    run.registry.record(FIRST_ENTRY, a_move(run).grounds)
    return tmp_path


def a_move(run):
    first, second = (register(run, content) for content in ("first", "second"))
    grounds = Rollback(target=second, previous=first, reason="a try", triggered_by="a test")
    entry = replace(
        FIRST_ENTRY,
        run_id=run.run_id,
        verdict="rollback",
        version=second.version,
        previous=first,
        decision=digest(grounds),
    )
    return Move(target=second, entry=entry, grounds=grounds)


def versions(run):
    return [entry.version for entry in run.registry.history()]


def test_a_move_is_made_and_recorded(home):
    run = open_run(home)
    move = a_move(run)

    move_champion(run.store, run.registry, move)

    assert run.registry.resolve(CHAMPION_ALIAS) == move.target
    assert run.registry.history()[-1] == move.entry
    assert kept_moves(run.store, run.run_id) == []


def test_a_move_that_cannot_be_made_is_forgotten_and_never_recorded(home):
    run = open_run(home)
    move = a_move(run)
    third = register(run, "third")
    run.registry.move_alias(CHAMPION_ALIAS, third.version, expected=move.entry.previous)

    with pytest.raises(RegistryConflict, match="points at v3, not at v1"):
        move_champion(run.store, run.registry, move)
    run.registry.move_alias(CHAMPION_ALIAS, move.target.version, expected=third)
    record_cut_off(run.store, run.registry)

    assert kept_moves(run.store, run.run_id) == []
    assert versions(run) == ["v1"]


def test_a_move_of_long_ago_that_was_never_made_is_not_what_another_has_made(home):
    run, other = open_run(home), open_run(home, "other")
    stale, made = a_move(run), a_move(other)
    run.store.put("moves", run.run_id, {f"{name}.json": to_json(part) for name, part in stale._asdict().items()})
    move_champion(other.store, other.registry, made)
    back = replace(made.entry, run_id="back", version="v1", previous=made.target)
    other.registry.move_alias(CHAMPION_ALIAS, "v1", expected=made.target)
    other.registry.record(back, made.grounds)
    third = register(run, "third")
    run.registry.move_alias(CHAMPION_ALIAS, third.version, expected=stale.entry.previous)
    run.registry.record(replace(back, run_id="on", version="v3", verdict="promote"), made.grounds)
    run.registry.move_alias(CHAMPION_ALIAS, "v2", expected=third)

    record_cut_off(run.store, run.registry)

    assert versions(run) == ["v1", "v2", "v1", "v3"]


def test_what_somebody_else_moved_the_alias_to_is_not_recorded_and_stops_whoever_writes(home):
    run = open_run(home)
    run.registry.move_alias(CHAMPION_ALIAS, "v2", expected=run.registry.resolve(CHAMPION_ALIAS))

    record_cut_off(run.store, run.registry)

    assert versions(run) == ["v1"]
    with pytest.raises(RegistryDamaged, match=r"points at v2, but by the history at v1"):
        retain(run, RetentionConfig())


def test_a_kept_move_that_cannot_be_read_is_left_out_with_a_warning(home, caplog):
    run = open_run(home)
    with run.store.staging() as folder:
        for name in Move._fields:
            (folder / f"{name}.json").write_text("{")
        run.store.commit(folder, "moves", "run-of-old")
    run.registry.move_alias(CHAMPION_ALIAS, "v2", expected=run.registry.resolve(CHAMPION_ALIAS))

    record_cut_off(run.store, run.registry)

    assert versions(run) == ["v1"]
    assert "what is kept of a move in store/moves cannot be read: it is left out" in caplog.text


def test_an_alias_that_points_elsewhere_after_its_move_is_a_conflict(home, monkeypatch):
    run = open_run(home)
    move = a_move(run)
    monkeypatch.setattr(type(run.registry), "move_alias", lambda *_, **__: None)

    with pytest.raises(RegistryConflict, match="was moved to v2, but points elsewhere now"):
        move_champion(run.store, run.registry, move)

    assert versions(run) == ["v1"]


@pytest.mark.parametrize("name", [".nfs0000", ".DS_Store", "run-1~", "#run-1#"])
def test_a_stray_file_among_the_moves_is_no_move(home, name):
    run = open_run(home)
    (home / "store" / "moves").mkdir(parents=True, exist_ok=True)
    (home / "store" / "moves" / name).write_bytes(b"\0")
    run.registry.move_alias(CHAMPION_ALIAS, "v2", expected=run.registry.resolve(CHAMPION_ALIAS))

    record_cut_off(run.store, run.registry)

    assert run.store.names("moves") == []
