"""How a run ended, as the last tasks read it, and as the run's note says it."""

import json
from pathlib import Path
from typing import get_args

import pytest
from retraining.model import QUORA
from retraining.outcome.run_outcome import ENDED, FAILED, is_note, note_of, outcome_of

from ml.records import Outcome

RUN_ID = "manual__2026-11-23T10:00:00+00:00"


@pytest.fixture(autouse=True)
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    folder = tmp_path / "reports" / "manual__2026-11-23T10_00_00_00_00" / "page"
    folder.mkdir(parents=True)
    return folder


def leave(page: Path, outcome: str, reason: str = "because") -> None:
    told = {"outcome": outcome, "reason": reason, "lines": ["production: v1"], "step": "promote"}
    (page / "RunOutcome.json").write_text(json.dumps(told))


@pytest.mark.parametrize("outcome", ["promoted", "kept", "inconclusive", "blocked", "unchanged", "rejected", "failed"])
def test_a_run_ends_as_its_last_step_says(page: Path, outcome: str) -> None:
    leave(page, outcome)
    assert outcome_of(QUORA, RUN_ID, [])["outcome"] == outcome


def test_the_words_of_the_steps_are_the_ids_of_the_tasks() -> None:
    assert {*ENDED, *FAILED, "rolled_back", "scored", "drift", "decided"} == set(get_args(Outcome))


@pytest.mark.parametrize("earlier", ["promoted", "kept", "decided"])
def test_a_task_that_was_killed_without_a_word_is_a_failure_whatever_an_earlier_try_said(
    page: Path, earlier: str
) -> None:
    leave(page, earlier)
    told = outcome_of(QUORA, RUN_ID, ["train"])
    assert (told["outcome"], told["reason"]) == ("failed", "the task train ended the run: its log says why")


@pytest.mark.parametrize("failed", [[], ["snapshot"]])
def test_a_run_without_a_word_has_failed(failed: list[str]) -> None:
    assert outcome_of(QUORA, RUN_ID, failed)["outcome"] == "failed"


def test_a_decision_that_nobody_carried_out_keeps_the_champion(page: Path) -> None:
    leave(page, "decided")
    assert outcome_of(QUORA, RUN_ID, [])["outcome"] == "kept"
    assert outcome_of(QUORA, RUN_ID, [], over=False)["outcome"] == "decided"


def test_a_note_is_one_paragraph_without_foreign_markup() -> None:
    told = {"outcome": "kept", "reason": "a *b*\n[c](http://d) <i> www.e.org _f_ g_h", "lines": ["production: v1"]}
    assert note_of(told) == (r"**Kept**: a \*b\* \[c\](http\://d) \<i\> www\.e.org \_f\_ g_h · production: v1")


def test_a_long_reason_is_cut() -> None:
    assert len(note_of({"outcome": "failed", "reason": "x" * 5000, "lines": []})) < 500


@pytest.mark.parametrize("outcome", [*ENDED, *FAILED, "rolled_back", "scored", "drift"])
def test_a_note_is_known_again(outcome: str) -> None:
    assert is_note(note_of({"outcome": outcome, "reason": "why", "lines": []}))
    assert not is_note("**My own**: a word")
