from dataclasses import replace

import pytest

from ml.errors import RegistryConflict
from ml.gate.move import Move, kept_move, move_champion, record_cut_off
from ml.records import AbsentChampion, Rollback, digest
from ml.registry import CHAMPION_ALIAS
from tests.gate.examples import FIRST_ENTRY, open_workspace, store_model


def register(workspace, content):
    model = store_model(workspace.store, content)
    return workspace.registry.register(workspace.store.open("models", model), model)


@pytest.fixture
def home(tmp_path):
    """The versions v1, the champion by the history, and v2."""
    workspace = open_workspace(tmp_path)
    first = register(workspace, "first")
    register(workspace, "second")
    workspace.registry.move_alias(CHAMPION_ALIAS, first.version, expected=AbsentChampion())
    workspace.registry.record(FIRST_ENTRY, a_move(workspace).grounds)
    return tmp_path


def a_move(workspace):
    first, second = (register(workspace, content) for content in ("first", "second"))
    grounds = Rollback(target=second, previous=first, reason="a try", triggered_by="a test")
    entry = replace(
        FIRST_ENTRY,
        run_id=workspace.run_id,
        verdict="rollback",
        version=second.version,
        previous=first,
        decision=digest(grounds),
    )
    return Move(target=second, entry=entry, grounds=grounds)


def versions(workspace):
    return [entry.version for entry in workspace.registry.history()]


def test_a_move_is_made_and_recorded(home):
    workspace = open_workspace(home)
    move = a_move(workspace)

    move_champion(workspace, move)

    assert workspace.registry.resolve(CHAMPION_ALIAS) == move.target
    assert workspace.registry.history()[-1] == move.entry
    assert kept_move(workspace.store, workspace.run_id) == move


def test_a_move_that_cannot_be_made_is_not_recorded_by_the_next(home):
    workspace = open_workspace(home)
    move = a_move(workspace)
    workspace.registry.move_alias(CHAMPION_ALIAS, "v2", expected=move.entry.previous)
    third = register(workspace, "third")
    workspace.registry.move_alias(CHAMPION_ALIAS, third.version, expected=move.target)

    with pytest.raises(RegistryConflict, match="points at v3, not at v1"):
        move_champion(workspace, move)
    record_cut_off(open_workspace(home, "next"))

    assert versions(workspace) == ["v1"]


def test_what_somebody_else_moved_the_alias_to_is_not_recorded(home):
    workspace = open_workspace(home)
    workspace.registry.move_alias(CHAMPION_ALIAS, "v2", expected=workspace.registry.resolve(CHAMPION_ALIAS))

    record_cut_off(workspace)

    assert versions(workspace) == ["v1"]
