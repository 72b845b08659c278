"""Who is told when a task has ended: by real steps and operators, and by Airflow's own callbacks."""

import json
import logging
import re
import runpy
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from retraining.notices.notifier import ApprovalNotifier, FailureNotifier, Notifier
from retraining.operators import RollbackOperator
from retraining.outcome.run_outcome import ENDED, FAILED
from retraining.step.step_operator import StepOperator

from ml.records import to_json
from ml.report.words.notices import late_notice, to_lines
from tests.airflow.test_operators import RUN_URL, _context, _run
from tests.judge.examples import RIVAL, compare, judged

PROJECT = Path(__file__).parents[3]
WHERE = f"Where: {RUN_URL}/plugin/report"

pytestmark = pytest.mark.usefixtures("quick_steps")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[int, list[str]]]]:
    """The level and the lines of each notice in the log."""
    caplog.set_level(logging.INFO)

    def read() -> list[tuple[int, list[str]]]:
        return [
            (each.levelno, each.message.split("\n"))
            for each in caplog.records
            if each.name == "retraining.notices.notifier"
        ]

    return read


def _ended(operator: StepOperator, **context: Any) -> dict[str, Any]:
    """The context that a callback is given."""
    return {"ti": SimpleNamespace(task=operator, task_id=operator.task_id, log_url=f"{RUN_URL}/tasks/x"), **context}


def _failed(operator: StepOperator, **params: Any) -> dict[str, Any]:
    with pytest.raises(AirflowException) as caught:
        _run(operator, **params)
    return _ended(operator, exception=caught.value)


@pytest.mark.parametrize("name", ["retrain_quora", "rollback_model"])
def test_every_end_of_every_step_is_told_and_no_retry(name: str) -> None:
    dag = runpy.run_path(str(PROJECT / "dags" / f"{name}.py"))[name]
    steps = [task for task in dag.tasks if isinstance(task, StepOperator)]
    ends = {"verdict", *ENDED, *FAILED} if name == "retrain_quora" else set()
    assert set(dag.task_ids) == {step.task_id for step in steps} | ends
    for task in steps:
        kinds = [task.on_success_callback, task.on_skipped_callback, task.on_failure_callback]
        assert [[type(callback) for callback in kind] for kind in kinds] == [[Notifier], [Notifier], [FailureNotifier]]
        assert not task.on_retry_callback


def test_a_step_that_refuses_its_data_says_why_itself(told: Callable[[], Any], tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("qid,question_text,target\n1,why\n")
    FailureNotifier()(_failed(StepOperator(step="snapshot"), source=str(tmp_path / "bad.csv")))
    ((level, lines),) = told()
    assert (level, lines[0], lines[4]) == (
        logging.WARNING,
        "Rejected: the step snapshot refused the data",
        WHERE,
    )
    assert len(lines) == 5


def test_what_a_trigger_may_not_ask_is_told_too(told: Callable[[], Any]) -> None:
    FailureNotifier()(_failed(StepOperator(step="snapshot"), source="s3://user:sesame@bucket/x.csv"))
    ((_, lines),) = told()
    assert lines == [
        "Failed: the step snapshot ended the run",
        "Why: a source may not bear a password, a key or a signature (the run's source)",
        "Figures: none; nothing was measured",
        "What to do: write conn://CONNECTION-ID/PATH",
        WHERE,
    ]


def test_a_step_that_was_killed_is_told_by_airflow(
    told: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program.sh"
    program.write_text("#!/bin/bash\nkill -KILL $$\n")
    program.chmod(0o755)
    monkeypatch.setenv("ML_PYTHON", str(program))
    FailureNotifier()(_failed(StepOperator(step="train")))
    ((_, lines),) = told()
    assert lines[:2] == [
        "Failed: the task train ended the run",
        "Why: step train was killed by signal 9; 9 mostly means too little memory",
    ]


def test_a_notice_of_an_earlier_try_is_not_told(
    told: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = StepOperator(step="snapshot")
    _failed(operator, source=str(tmp_path / "missing.csv"))
    assert operator.notices
    monkeypatch.setenv("ML_PYTHON", "/no/such/python")
    FailureNotifier()(_failed(operator))
    ((_, lines),) = told()
    assert lines[1] == "Why: step snapshot cannot be started: No such file or directory; see ML_PYTHON"


@pytest.mark.parametrize(
    ("context", "why"),
    [
        ({"exception": ValueError("a question, or a key")}, "it ended by a ValueError"),
        ({"exception": AirflowFailException("the person said no")}, "the person said no"),
        ({}, "Airflow lost its process"),
    ],
    ids=["foreign", "ours", "killed by the scheduler"],
)
def test_a_failure_without_a_step_quotes_only_words_of_ours(
    told: Callable[[], Any], context: dict[str, Any], why: str
) -> None:
    FailureNotifier()(_ended(StepOperator(step="train"), **context))
    ((level, lines),) = told()
    assert (level, lines[1]) == (logging.WARNING, f"Why: {why}")


def test_a_rollback_that_fails_is_told(told: Callable[[], Any]) -> None:
    from airflow.sdk import Asset

    operator = RollbackOperator(champion=Asset("champion"))
    context = _context() | {"params": {"version": None, "reason": "users complained"}}
    with pytest.raises(AirflowFailException) as caught:
        type(operator).execute.__wrapped__(operator, context)
    FailureNotifier()(_ended(operator, exception=caught.value))
    ((_, lines),) = told()
    assert lines[0] == "Failed: the step rollback ended the run"


def test_a_step_with_nothing_to_tell_tells_nothing(told: Callable[[], Any], tmp_path: Path) -> None:
    operator = StepOperator(step="snapshot")
    (tmp_path / "good.csv").write_text("qid,question_text,target\n" + "1,why?,0\n2,how?,1\n")
    _run(operator, source=str(tmp_path / "good.csv"))
    Notifier()(_ended(operator))
    assert told() == []


@pytest.mark.parametrize(
    ("event", "level"),
    [
        ("promoted", logging.INFO),
        ("kept", logging.INFO),
        ("inconclusive", logging.INFO),
        ("unchanged", logging.INFO),
        ("rolled_back", logging.INFO),
        ("blocked", logging.WARNING),
        ("failed", logging.WARNING),
        ("drift", logging.WARNING),
        ("champion_under_floor", logging.ERROR),
    ],
)
def test_the_log_says_it_as_loudly_as_it_matters(told: Callable[[], Any], event: str, level: int) -> None:
    operator = StepOperator(step="decide")
    operator.notices = to_lines([late_notice("x", due="y", deadline="z")]).replace('"late"', f'"{event}"')
    Notifier()(_ended(operator))
    assert [each[0] for each in told()] == [level]


def test_a_person_is_asked_by_the_records_of_the_task_that_asks(told: Callable[[], Any]) -> None:
    comparison = compare("a" * 64, RIVAL)
    operator = StepOperator(
        step="approve", records=[json.loads(to_json(each)) for each in (comparison, judged(comparison))]
    )
    operator.response_timeout = timedelta(hours=24)
    ApprovalNotifier()(_ended(operator))
    ((level, lines),) = told()
    assert level == logging.WARNING
    assert lines[0] == "Approval wanted: may the candidate become the champion (now: v1)?"
    assert re.fullmatch(
        r"What to do: answer .* by \d{4}-\d\d-\d\d \d\d:\d\d UTC; without an answer nothing changes", lines[3]
    )
    assert lines[4] == WHERE
