"""Each end of a task leaves a verdict, also where its step could not write one."""

import re
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout
from retraining.operators import RollbackOperator, ScoreOperator
from retraining.step.step_operator import StepOperator

from ml.cli import main
from ml.report.words.verdict import write_verdict
from tests.airflow.test_operators import _context, _program
from tests.judge.examples import open_run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def execute(operator: StepOperator, conf: dict[str, Any] | None = None, **params: Any) -> None:
    operator.config = "local"
    context = _context(**params)
    context["dag_run"].conf = conf or {}
    type(operator).execute.__wrapped__(operator, context)


def verdict(capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["verdict"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "operator",
    [
        *(StepOperator(step="snapshot"), StepOperator(step="approve")),
        *(RollbackOperator(champion=Asset("a")), ScoreOperator()),
    ],
    ids=lambda operator: operator.step,
)
def test_a_run_that_is_refused_says_why(operator: StepOperator, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AirflowFailException):
        execute(operator, conf={"Source": "x.csv"}, reason="late", version=None)
    told = verdict(capsys)
    assert told.startswith(f"FAILED: the step {operator.step} ended the run.\n\nunknown key 'Source'")
    assert "what to do: known here: " in told


def test_a_source_that_is_refused_is_told_without_its_password(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AirflowFailException):
        execute(StepOperator(step="snapshot"), source="https://user:sesame@host/a.csv")
    told = verdict(capsys)
    assert "a source may not bear a password" in told
    assert "sesame" not in told


@pytest.mark.parametrize(
    "end",
    [
        ("kill -KILL $$", "NOT FINISHED: the step train ran out", "killed by signal 9"),
        ("exit 137", "NOT FINISHED: the step train ran out", "killed by signal 9"),
        ("kill -TERM $$", "NOT FINISHED: the step train was interrupted", "was told to end (signal 15)"),
        ("exit 143", "NOT FINISHED: the step train was interrupted", "was told to end (signal 15)"),
        ("exit 2", "FAILED: the step train", "stopped with status 2"),
    ],
)
def test_a_step_that_could_not_say_why_it_ended_is_told_of(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    end: tuple[str, str, str],
) -> None:
    script, headline, what = end
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, script))
    with pytest.raises(AirflowException):
        execute(StepOperator(step="train"))
    told = verdict(capsys)
    assert told.startswith(headline)
    assert what in told


def test_a_program_that_is_not_there_is_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ML_PYTHON", "/no/such/python")
    with pytest.raises(AirflowFailException):
        execute(StepOperator(step="train"))
    assert re.search(r"cannot be started: No such file.*\n  where: ML_PYTHON", verdict(capsys))


def test_a_step_that_exceeds_its_time_limit_is_ended_and_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, "sleep 60 & wait"))
    with pytest.raises(AirflowTaskTimeout), timeout(1):
        execute(StepOperator(step="train"))
    assert "step train exceeded its time limit" in verdict(capsys)


def test_a_decision_stays_where_the_step_that_carries_it_out_is_killed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_verdict(open_run(home, "manual__1"), "KEEP: the champion stays")
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, "kill -KILL $$"))
    with pytest.raises(AirflowException):
        execute(StepOperator(step="promote"))
    assert verdict(capsys) == "KEEP: the champion stays\n"
