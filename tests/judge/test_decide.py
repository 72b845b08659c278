"""The step `decide` reads the candidate's past from the history."""

from dataclasses import replace

import pytest

from ml.judge.decide import read_past
from ml.records import ModelVersion, NoChampion, NoPromotion, NothingWithdrawn, PastPromotion, digest
from tests.judge.examples import FIRST_ENTRY, INPUTS, compare, judged, open_run, probed

V1 = ModelVersion(version="v1", model="1" * 64)
V2 = ModelVersion(version="v2", model="2" * 64)
OTHER_INPUTS = replace(INPUTS, snapshot="9" * 64)
SECOND = replace(FIRST_ENTRY, run_id="run-2", version="v2", previous=V1, inputs=digest(INPUTS))
BACK = replace(FIRST_ENTRY, run_id="back", verdict="rollback", previous=V2, inputs="unrecorded")
KEPT = replace(FIRST_ENTRY, run_id="run-3", verdict="keep", promoted=False, version="v3", previous=V1)


def known(home, *entries, model="a" * 64, inputs=OTHER_INPUTS, force=False):
    run = replace(open_run(home), force=force)
    grounds = judged(compare("a" * 64, NoChampion()))
    for entry in entries:
        run.registry.record(entry, grounds)
    return read_past(run, compare(model, NoChampion()), probed(compare(model, NoChampion())), inputs)


def test_without_a_history_there_is_nothing_to_hold_against_a_candidate(tmp_path):
    past = known(tmp_path)

    assert past.last_promotion == NoPromotion()
    assert past.withdrawn == NothingWithdrawn()
    assert not past.after_rollback


def test_the_time_is_that_of_the_probe(tmp_path):
    assert known(tmp_path).time == "2026-01-11T00:00:00+00:00"


def test_the_last_promotion_is_neither_a_rollback_nor_a_kept_champion(tmp_path):
    later = replace(SECOND, time="2026-01-11T00:00:00+00:00")
    back = replace(BACK, time="2026-01-12T00:00:00+00:00")

    assert known(tmp_path, FIRST_ENTRY, later, back, KEPT).last_promotion == PastPromotion(
        version="v2", time="2026-01-11T00:00:00+00:00"
    )


@pytest.mark.parametrize(
    ("entries", "after_rollback"),
    [
        ((FIRST_ENTRY, SECOND), False),
        ((FIRST_ENTRY, SECOND, BACK), True),
        ((FIRST_ENTRY, SECOND, BACK, KEPT), True),
        ((FIRST_ENTRY, SECOND, BACK, replace(SECOND, run_id="run-4", version="v4")), False),
    ],
    ids=["promoted", "rolled back", "kept since", "promoted since"],
)
def test_a_rollback_counts_until_the_next_promotion(tmp_path, entries, after_rollback):
    assert known(tmp_path, *entries).after_rollback == after_rollback


@pytest.mark.parametrize(
    "candidate", [{"model": V2.model}, {"inputs": INPUTS}], ids=["the same files", "the same inputs"]
)
def test_what_was_rolled_back_from_is_known_again_by(tmp_path, candidate):
    assert known(tmp_path, FIRST_ENTRY, SECOND, BACK, **candidate).withdrawn == V2


@pytest.mark.parametrize("candidate", [{"model": V1.model}, {"model": "a" * 64}], ids=["the target", "another model"])
def test_a_rollback_says_nothing_about(tmp_path, candidate):
    assert known(tmp_path, FIRST_ENTRY, SECOND, BACK, **candidate).withdrawn == NothingWithdrawn()


def test_a_version_that_became_champion_again_is_not_withdrawn_any_more(tmp_path):
    restored = replace(BACK, run_id="forth", version="v2", previous=V1)

    past = known(tmp_path, FIRST_ENTRY, SECOND, BACK, restored, model=V2.model)

    assert past.withdrawn == NothingWithdrawn()


def test_a_forced_run_is_recorded_as_such(tmp_path):
    assert known(tmp_path, force=True).forced
