from dataclasses import replace

import pytest

from ml.champion.move import Move, kept_moves, move_champion, record_cut_off
from ml.errors import RegistryConflict
from ml.records import NoChampion, Rollback, digest
from ml.registry import CHAMPION_ALIAS
from tests.judge.examples import FIRST_ENTRY, open_run, store_model


def register(run, content):
    model = store_model(run.store, content)
    return run.registry.register(run.store.open("models", model), model)


@pytest.fixture
def home(tmp_path):
    """Make a home with the versions v1, which is the champion by alias and history, and v2."""
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

    move_champion(run, move)

    assert run.registry.resolve(CHAMPION_ALIAS) == move.target
    assert run.registry.history()[-1] == move.entry
    assert kept_moves(run.store, run.run_id) == [move]


def test_a_move_that_cannot_be_made_is_not_recorded_by_the_next(home):
    run = open_run(home)
    move = a_move(run)
    run.registry.move_alias(CHAMPION_ALIAS, "v2", expected=move.entry.previous)
    third = register(run, "third")
    run.registry.move_alias(CHAMPION_ALIAS, third.version, expected=move.target)

    with pytest.raises(RegistryConflict, match="points at v3, not at v1"):
        move_champion(run, move)
    record_cut_off(open_run(home, "next"))

    assert versions(run) == ["v1"]


def test_what_somebody_else_moved_the_alias_to_is_not_recorded(home):
    run = open_run(home)
    run.registry.move_alias(CHAMPION_ALIAS, "v2", expected=run.registry.resolve(CHAMPION_ALIAS))

    record_cut_off(run)

    assert versions(run) == ["v1"]
