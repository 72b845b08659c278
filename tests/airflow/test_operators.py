"""The operator runs real processes: steps of the pipeline, and shell scripts for exits that no step has."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk.execution_time.context import OutletEventAccessors
from retraining.operators import (
    PROJECT,
    DetectOperator,
    PromoteOperator,
    RollbackOperator,
    StepOperator,
    raise_for_status,
)

QUESTIONS = "qid,question_text,target\n" + "".join(
    f"{number:020x},Why is number {number} odd?,0\n" for number in range(4)
)
KAGGLE = {"kaggle_default": {"KAGGLE_USERNAME": "login", "KAGGLE_KEY": "password"}}
EMPTY = {"source": None, "config": "local"}
RUN_URL = "http://localhost:8080/dags/retrain_quora/runs/manual__1"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def _context(**params: Any) -> dict[str, Any]:
    dag_run = SimpleNamespace(run_type=DagRunType.MANUAL, triggering_user_name="eve")
    return {
        "params": EMPTY | params,
        "run_id": "manual__1",
        "dag_run": dag_run,
        "ti": SimpleNamespace(log_url=f"{RUN_URL}/tasks/train?try_number=1"),
        "outlet_events": OutletEventAccessors(),
    }


def _run(operator: StepOperator, **params: Any) -> Any:
    operator.config = params.get("config", "local")
    return type(operator).execute.__wrapped__(operator, _context(**params))


def _program(tmp_path: Path, text: str) -> str:
    program = tmp_path / "program.sh"
    program.write_text(f"#!/bin/bash\n{text}\n")
    program.chmod(0o755)
    return str(program)


def test_a_step_gives_its_record_as_a_plain_dictionary(tmp_path: Path) -> None:
    csv = tmp_path / "Jane's questions.csv"
    csv.write_text(QUESTIONS)
    record = _run(StepOperator(step="snapshot"), source=str(csv))
    assert (record["record"], record["rows"], record["columns"]) == (
        "RawSnapshot",
        4,
        ["qid", "question_text", "target"],
    )


def test_bad_data_is_not_retried(tmp_path: Path) -> None:
    with pytest.raises(AirflowFailException, match="snapshot stopped with status 65"):
        _run(StepOperator(step="snapshot"), source=str(tmp_path / "missing.csv"))


def test_a_missing_record_is_not_retried() -> None:
    with pytest.raises(AirflowFailException, match="decide stopped with status 65"):
        _run(StepOperator(step="decide", records=[None]))


def test_an_unknown_config_is_not_retried() -> None:
    with pytest.raises(AirflowFailException, match="status 65"):
        _run(StepOperator(step="snapshot"), config="nonesuch")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (65, AirflowFailException),
        (64, AirflowFailException),
        (2, AirflowFailException),
        (1, AirflowFailException),
        (75, AirflowException),
        (-9, AirflowException),
        (-15, AirflowException),
    ],
)
def test_what_may_pass_by_itself_is_retried_and_nothing_else(status: int, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        raise_for_status("train", status)
    assert type(caught.value) is kind


def test_a_step_killed_by_the_system_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, "kill -KILL $$"))
    with pytest.raises(AirflowException, match="killed by signal 9"):
        _run(StepOperator(step="train"))


def test_killing_the_task_ends_the_step_and_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid_file = tmp_path / "pid"
    monkeypatch.setenv(
        "ML_PYTHON", _program(tmp_path, f"sleep 300 & echo $! > {pid_file}.part\nmv {pid_file}.part {pid_file}; wait")
    )
    operator = StepOperator(step="train")
    killer = threading.Thread(target=_kill_once_there, args=(operator, pid_file))
    killer.start()
    with pytest.raises(AirflowException, match=f"signal {signal.SIGTERM.value}"):
        _run(operator)
    killer.join()
    with pytest.raises(ProcessLookupError):
        _wait_until_gone(int(pid_file.read_text()))


def _kill_once_there(operator: StepOperator, pid_file: Path) -> None:
    while not pid_file.exists():
        time.sleep(0.02)
    operator.on_kill()


def _wait_until_gone(pid: int) -> None:
    for _ in range(250):
        os.kill(pid, 0)
        time.sleep(0.02)


def test_a_connection_reaches_the_step_as_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KAGGLE_DEFAULT", "generic://someone:a-key@")
    seen = _program(tmp_path, f'echo -n "$KAGGLE_USERNAME:$KAGGLE_KEY" > {tmp_path}/seen; exit 65')
    monkeypatch.setenv("ML_PYTHON", seen)
    with pytest.raises(AirflowFailException):
        _run(StepOperator(step="snapshot", connections=KAGGLE))
    assert (tmp_path / "seen").read_text() == "someone:a-key"


@pytest.mark.parametrize(
    "step", [StepOperator(step="train"), DetectOperator(), PromoteOperator(champion=Asset("champion"))], ids=str
)
def test_every_step_gets_the_key_for_wandb(step: StepOperator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WANDB_DEFAULT", "generic://:a-key@")
    monkeypatch.setenv("WANDB_API_KEY", "another")
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, f'echo -n "$WANDB_API_KEY" > {tmp_path}/seen; exit 65'))
    with pytest.raises(AirflowFailException):
        _run(step)
    assert (tmp_path / "seen").read_text() == "a-key"


def test_without_a_connection_a_key_in_the_environment_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a-key")
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, f'echo -n "$WANDB_API_KEY" > {tmp_path}/seen; exit 65'))
    with pytest.raises(AirflowFailException):
        _run(StepOperator(step="train"))
    assert (tmp_path / "seen").read_text() == "a-key"


def test_a_step_runs_in_the_project_with_its_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = f"pwd > {tmp_path}/seen; printf '%s\\n' \"$@\" >> {tmp_path}/seen; exit 65"
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, seen))
    with pytest.raises(AirflowFailException):
        _run(StepOperator(step="train", records=[{"record": "Splits"}]))
    lines = (tmp_path / "seen").read_text().splitlines()
    assert [Path(line).name for line in lines] == [
        *[PROJECT.name, "-m", "ml", "train", "--config", "config.toml", "--run-id", "manual__1"],
        "--triggered-by=Airflow, manual run by eve",
        "manual__1",
        *["--input", "input-0.json", "--output", "output.json"],
    ]


def test_settings_reach_the_step_in_a_file_not_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, f'cat "$5" > {tmp_path}/seen; exit 65'))
    with pytest.raises(AirflowFailException):
        _run(StepOperator(step="train"), epochs=3, config="bert-base")
    assert (tmp_path / "seen").read_text() == 'extends = "bert-base"\ntrain.epochs = 3'


def test_the_log_has_what_the_step_prints_and_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, "echo from the step; exit 65"))
    with pytest.raises(AirflowFailException):
        _run(StepOperator(step="snapshot"), source="https://user:sesame@host.invalid/a.csv")
    printed = "".join(capfd.readouterr())
    assert "from the step" in printed
    assert "Running command" not in printed
    assert "sesame" not in printed


@pytest.mark.parametrize(("promoted", "events"), [(True, ["quora_champion"]), (False, [])])
def test_only_a_promotion_tells_those_who_wait_for_a_champion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promoted: bool, events: list[str]
) -> None:
    candidate = {"record": "ModelVersion", "version": "v1", "model": "m1"}
    record = {"promoted": promoted, "verdict": "keep", "candidate": candidate, "decision": "d1"}
    (tmp_path / "promotion.json").write_text(json.dumps(record))
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, f'cp {tmp_path}/promotion.json "${{@: -1}}"'))
    operator, context = PromoteOperator(champion=Asset("quora_champion")), _context()
    type(operator).execute.__wrapped__(operator, context)
    accessor = context["outlet_events"][AssetAlias("quora_champion_promotions")]
    assert [event.dest_asset_key.name for event in accessor.asset_alias_events] == events


@pytest.mark.parametrize(("version", "target"), [("v3", ["--to=v3"]), (None, [])])
def test_a_rollback_is_told_where_to_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None, target: list[str]
) -> None:
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, f"printf '%s\\n' \"$@\" > {tmp_path}/seen; exit 65"))
    with pytest.raises(AirflowFailException):
        _run(RollbackOperator(champion=Asset("quora_champion")), version=version, reason="-- too slow")
    assert (tmp_path / "seen").read_text().splitlines()[:-2] == [
        *["-m", "ml", "rollback", "--reason=-- too slow"],
        *target,
        *["--run-id", "manual__1", "--triggered-by=Airflow, manual run by eve", f"--run-url={RUN_URL}"],
    ]


def _answer(tmp_path: Path, record: dict[str, object]) -> str:
    (tmp_path / "record.json").write_text(json.dumps(record))
    return _program(tmp_path, f'cp {tmp_path}/record.json "${{@: -1}}"')


def test_a_run_without_a_change_skips_what_comes_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"changed": False, "reason": "Nothing has changed."}
    monkeypatch.setenv("ML_PYTHON", _answer(tmp_path, record))
    with pytest.raises(AirflowSkipException, match="Nothing has changed"):
        _run(DetectOperator())


def test_a_run_with_a_change_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"changed": True, "reason": "There is no champion yet."}
    monkeypatch.setenv("ML_PYTHON", _answer(tmp_path, record))
    assert _run(DetectOperator()) == record


def test_a_dry_run_reaches_the_step_as_a_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, f"printf '%s\\n' \"$@\" > {tmp_path}/seen; exit 65"))
    with pytest.raises(AirflowFailException):
        _run(StepOperator(step="promote"), dry_run=True)
    assert "--dry-run" in (tmp_path / "seen").read_text().splitlines()
