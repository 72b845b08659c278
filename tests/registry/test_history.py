from dataclasses import replace

from ml.registry.history import former_champions
from tests.judge.examples import FIRST_ENTRY


def entries(*versions):
    return [replace(FIRST_ENTRY, version=version) for version in versions]


def test_the_champion_and_so_many_before_it_are_kept_each_once():
    assert former_champions(entries("v1", "v2", "v3", "v2"), 1) == ["v2", "v3"]


def test_versions_that_were_never_champion_do_not_count():
    kept = replace(FIRST_ENTRY, version="v2", promoted=False)

    assert former_champions([*entries("v1"), kept, *entries("v3")], 5) == ["v3", "v1"]
