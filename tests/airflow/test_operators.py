"""The operator runs real processes: steps of the pipeline, and shell scripts for exits that no step has."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Asset, AssetAlias
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    DownstreamTasksSkipped,
)
from airflow.sdk.execution_time.context import OutletEventAccessors
from retraining import PROJECT
from retraining.approval import ApproveOperator
from retraining.operators import (
    DetectOperator,
    EvaluateOperator,
    PromoteOperator,
    RollbackOperator,
    evaluation_seconds,
)
from retraining.outcome.tasks import verdict_tasks
from retraining.step.exit_status import raise_for_status
from retraining.step.step_operator import StepOperator

from tests.airflow.step.task_instance import task_instance

QUESTIONS = "qid,question_text,target\n" + "".join(
    f"{number:020x},Why is number {number} odd?,0\n" for number in range(4)
)
KAGGLE = {"kaggle_default": {"KAGGLE_USERNAME": "login", "KAGGLE_KEY": "password"}}
EMPTY = {"source": None, "config": "local"}
RUN_URL = "http://localhost:8080/dags/retrain_quora/runs/manual__1"

pytestmark = pytest.mark.usefixtures("quick_steps")


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
        "ti": task_instance("retrain_quora", "manual__1", "train"),
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


def test_by_airflows_own_python_a_missing_record_is_not_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ML_PYTHON")
    with pytest.raises(AirflowFailException, match="decide stopped with status 65"):
        _run(StepOperator(step="decide", records=[None]))


def test_a_backfill_is_refused_at_once_with_one_clear_error() -> None:
    context = _context()
    context["dag_run"].run_type = DagRunType.BACKFILL
    with pytest.raises(AirflowFailException, match="there is nothing to backfill"):
        StepOperator.execute.__wrapped__(StepOperator(step="snapshot"), context)


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
        (137, AirflowException),
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


def test_an_empty_field_of_a_connection_leaves_a_good_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KAGGLE_DEFAULT", "generic://someone@")
    monkeypatch.setenv("KAGGLE_KEY", "a-key")
    monkeypatch.setenv(
        "ML_PYTHON", _program(tmp_path, f'echo -n "$KAGGLE_USERNAME:$KAGGLE_KEY" > {tmp_path}/seen; exit 65')
    )
    with pytest.raises(AirflowFailException):
        _run(StepOperator(step="snapshot", connections=KAGGLE))
    assert (tmp_path / "seen").read_text() == "someone:a-key"


def test_an_extra_of_a_connection_reaches_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "aws", "extra": {"region_name": "eu-central-1"}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, f'echo -n "$AWS_DEFAULT_REGION" > {tmp_path}/seen; exit 65'))
    with pytest.raises(AirflowFailException):
        _run(StepOperator(step="snapshot", connections={"aws_default": {"AWS_DEFAULT_REGION": "region_name"}}))
    assert (tmp_path / "seen").read_text() == "eu-central-1"


def test_a_step_gets_what_it_may_need_and_nothing_that_airflow_keeps_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = ("CORE__FERNET_KEY", "API_AUTH__JWT_SECRET", "DATABASE__SQL_ALCHEMY_CONN", "CELERY__BROKER_URL")
    kept = [*(f"AIRFLOW__{name}" for name in secrets), "AIRFLOW_CONN_WAREHOUSE", "_AIRFLOW__AS_LIBRARY", "DB_PASSWORD"]
    given = ["AWS_REGION", "GOOGLE_CLOUD_PROJECT", "https_proxy", "TFHUB_CACHE_DIR", "CUDA_VISIBLE_DEVICES", "LC_ALL"]
    for name in [*kept, *given]:
        monkeypatch.setenv(name, f"value of {name}")
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, f"env > {tmp_path}/seen; exit 65"))
    with pytest.raises(AirflowFailException):
        _run(StepOperator(step="train"))
    seen = (tmp_path / "seen").read_text()
    assert [name for name in given if f"{name}=value of {name}" not in seen] == []
    assert [name for name in kept if f"value of {name}" in seen] == []
    assert "AIRFLOW" not in seen


def test_a_program_that_is_not_there_waits_for_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_PYTHON", "/no/such/python")
    with pytest.raises(AirflowFailException, match="cannot be started: No such file"):
        _run(StepOperator(step="train"))


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
        *["--input", "input-0.json", "--notices", "notices", "--output", "output.json"],
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
    monkeypatch.setenv("SINCERE_SOURCE", "https://user:sesame@host.invalid/a.csv")
    with pytest.raises(AirflowFailException):
        _run(StepOperator(step="snapshot"))
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
    comparison = {"candidate": {"precision": 0.84, "recall": 0.83, "f1": 0.83}}
    (tmp_path / "promotion.json").write_text(json.dumps(record))
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, f'cp {tmp_path}/promotion.json "${{@: -1}}"'))
    operator, context = PromoteOperator(champion=Asset("quora_champion"), records=[comparison]), _context()
    type(operator).execute.__wrapped__(operator, context)
    accessor = context["outlet_events"][AssetAlias("quora_champion_promotions")]
    assert [event.dest_asset_key.name for event in accessor.asset_alias_events] == events
    told = {"version": "v1", "precision": 0.84, "recall": 0.83, "verdict": "promoted"}
    told["report"] = f"{RUN_URL}/plugin/report"
    assert [event.extra for event in accessor.asset_alias_events] == [told for _ in events]


def test_a_rollback_tells_which_version_is_the_champion_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    entry = {"version": "v1", "precision": 0.8, "recall": 0.7, "f1": 0.75, "verdict": "rollback"}
    history = home / "reports" / "manual__1" / "history"
    history.mkdir(parents=True)
    (history / "d1.json").write_text(json.dumps(entry))
    monkeypatch.setenv("ML_PYTHON", _answer(tmp_path, {"record": "Rollback"}))
    operator, context = RollbackOperator(champion=Asset("quora_champion")), _context(version="v1", reason="slow")
    type(operator).execute.__wrapped__(operator, context)
    told = {"version": "v1", "precision": 0.8, "recall": 0.7, "verdict": "rolled back"}
    assert context["outlet_events"][Asset("quora_champion")].extra == {**told, "report": f"{RUN_URL}/plugin/report"}


@pytest.mark.parametrize(("version", "target"), [("v3", ["--to=v3"]), (None, [])])
def test_a_rollback_is_told_where_to_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None, target: list[str]
) -> None:
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, f"printf '%s\\n' \"$@\" > {tmp_path}/seen; exit 65"))
    with pytest.raises(AirflowFailException):
        _run(RollbackOperator(champion=Asset("quora_champion")), version=version, reason="-- too slow")
    assert (tmp_path / "seen").read_text().splitlines()[:-4] == [
        *["-m", "ml", "rollback", "--reason=-- too slow"],
        *target,
        *["--run-id", "manual__1", "--triggered-by=Airflow, manual run by eve", f"--run-url={RUN_URL}"],
    ]


def _answer(tmp_path: Path, record: dict[str, object]) -> str:
    (tmp_path / "record.json").write_text(json.dumps(record))
    return _program(tmp_path, f'cp {tmp_path}/record.json "${{@: -1}}"')


def test_a_run_without_a_change_skips_all_later_steps_at_once_and_comes_to_its_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = {"changed": False, "reason": "Nothing has changed."}
    monkeypatch.setenv("ML_PYTHON", _answer(tmp_path, record))
    with DAG("unchanged", schedule=None):
        detect = DetectOperator()
        detect >> StepOperator(step="validate") >> StepOperator(step="split") >> verdict_tasks()
    with pytest.raises(DownstreamTasksSkipped) as caught:
        _run(detect)
    assert sorted(caught.value.tasks) == ["split", "validate"]


def test_a_run_with_a_change_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"changed": True, "reason": "There is no champion yet."}
    monkeypatch.setenv("ML_PYTHON", _answer(tmp_path, record))
    assert _run(DetectOperator()) == record


def test_a_dry_run_reaches_the_step_as_a_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, f"printf '%s\\n' \"$@\" > {tmp_path}/seen; exit 65"))
    with pytest.raises(AirflowFailException):
        _run(StepOperator(step="promote"), dry_run=True)
    assert "--dry-run" in (tmp_path / "seen").read_text().splitlines()


@pytest.mark.parametrize("key", ["Source", "epoch", "sources"])
def test_an_unknown_key_of_the_conf_is_refused_by_name(key: str) -> None:
    context = _context(**{key: "x.csv"})
    context["dag_run"].conf = {key: "x.csv"}
    with pytest.raises(AirflowFailException, match=f"(?s)unknown key '{key}'.*known here: approval, batch_size"):
        StepOperator.execute.__wrapped__(StepOperator(step="snapshot"), context)


class _TaskState(dict[str, Any]):
    """What Airflow keeps for a task over retries and clearing."""

    def set(self, key: str, value: Any, **_: Any) -> None:
        self[key] = value


WANTED = {"approval": {"record": "ApprovalWanted", "because": ["the setting approval = always"], "hours": 1.0}}


def _asking(**state: Any) -> tuple[ApproveOperator, dict[str, Any]]:
    operator = ApproveOperator(records=[{"record": "Comparison"}, WANTED, {"record": "Probe"}])
    operator.config = "local"
    context = _context() | {"task_state_store": _TaskState(state)}
    context["ti"].xcom_push = lambda key, value: context.update({key: value})
    return operator, context


def _event(option: str, **event: Any) -> dict[str, Any]:
    answered = {"chosen_options": [option], "responded_at": datetime(2026, 11, 25, 21, 50, 45, 7, tzinfo=UTC)}
    return {**answered, "responded_by_user": {"id": "7", "name": "jane"}, "params_input": {"reason": " no "}, **event}


REJECTION = {
    **{"record": "Answer", "schema": 1, "decision": "d" * 64, "approved": False, "by": "jane", "reason": "no"},
    "time": "2026-11-25T21:50:45+00:00",
}


def test_a_rejection_outlives_a_step_that_failed_after_it_and_nobody_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator, context = _asking(asked="d" * 64)
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, "exit 75"))
    with pytest.raises(AirflowException):
        operator.execute_complete(context, _event("Reject"))
    retried, _ = _asking()
    gives_back_the_last_input = (
        'while [ "$1" ]; do [ "$1" = --input ] && last=$2; [ "$1" = --output ] && cp $last $2; shift; done'
    )
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, gives_back_the_last_input))
    assert ApproveOperator.execute.__wrapped__(retried, context) == REJECTION


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        (_event("Reject"), REJECTION),
        (_event("Approve"), REJECTION | {"approved": True}),
        (_event("Approve", params_input={}), REJECTION | {"approved": True, "reason": "no reason was given"}),
        (_event("Reject", responded_by_user={"id": "7", "name": ""}), REJECTION | {"by": "7"}),
        (
            _event("Reject", responded_by_user=None, timedout=True),
            {"record": "NoAnswer", "schema": 1, "decision": "d" * 64, "time": "2026-11-25T21:50:45+00:00"},
        ),
    ],
)
def test_an_answer_becomes_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: dict[str, Any], answer: dict[str, Any]
) -> None:
    operator, context = _asking(asked="d" * 64)
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, "exit 65"))
    with pytest.raises(AirflowFailException):
        operator.execute_complete(context, event)
    assert operator.records[-1] == answer


def test_a_dry_run_asks_nobody_and_hands_on_the_decision_as_it_was() -> None:
    operator, context = _asking()
    context["params"] |= {"dry_run": True}
    with pytest.raises(AirflowSkipException, match=r"a person would have been asked .* a dry run promotes nothing"):
        ApproveOperator.execute.__wrapped__(operator, context)
    assert context["return_value"] == WANTED


def test_an_unknown_key_of_a_rollbacks_conf_is_refused_by_name() -> None:
    operator, context = RollbackOperator(champion=Asset("champion")), _context(version=None, reason="late")
    context["dag_run"].conf = {"reason": "late", "to": "v1"}
    with pytest.raises(AirflowFailException, match="unknown key 'to'"):
        type(operator).execute.__wrapped__(operator, context)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a step that keeps its settings and flags instead; gives them."""
    monkeypatch.setenv(
        "ML_PYTHON", _program(tmp_path, f'cat "$5" > {tmp_path}/seen; echo "$@" >> {tmp_path}/seen; exit 65')
    )

    def of(run_type: DagRunType = DagRunType.MANUAL, dates: dict[str, Any] | None = None, **params: Any) -> str:
        operator, context = StepOperator(step="snapshot"), _context(**params) | (dates or {})
        operator.config = params.get("config", "local")
        context["dag_run"].run_type = run_type
        with pytest.raises(AirflowFailException):
            type(operator).execute.__wrapped__(operator, context)
        return (tmp_path / "seen").read_text()

    return of


def test_a_run_reads_what_production_says(settings: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINCERE_SOURCE", "s3://bucket/train.csv")
    assert 'source.uri = "s3://bucket/train.csv"' in settings(DagRunType.SCHEDULED)
    monkeypatch.setenv("SINCERE_SOURCE", "")
    monkeypatch.setenv("AIRFLOW_VAR_SINCERE_SOURCE", "gs://bucket/train.csv")
    assert 'source.uri = "gs://bucket/train.csv"' in settings(DagRunType.SCHEDULED)
    assert 'source.uri = "mine.csv"' in settings(source="mine.csv")


@pytest.mark.parametrize("run_type", [DagRunType.SCHEDULED, DagRunType.ASSET_TRIGGERED])
def test_without_a_source_nobody_but_a_person_gets_the_sample(
    settings: Callable[..., str], run_type: DagRunType
) -> None:
    assert "--no-sample" in settings(run_type)
    assert "--no-sample" not in settings(DagRunType.MANUAL)


@pytest.mark.parametrize(
    ("source", "read"),
    [
        ("s3://bucket/{{ ds }}/train.csv", "s3://bucket/2026-11-23/train.csv"),
        ("s3://bucket/{{ macros.ds_add(ds, -7) }}.csv", "s3://bucket/2026-11-16.csv"),
        ("https://host/100%25.csv", "https://host/100%25.csv"),
    ],
)
def test_a_source_bears_the_date_of_its_run(settings: Callable[..., str], source: str, read: str) -> None:
    assert f'source.uri = "{read}"' in settings(source=source, dates={"ds": "2026-11-23"})


@pytest.mark.parametrize(
    "template", ["{{ ds }}", "{{ var.value.password }}", "{{ conn.bank.password }}", "{{ ds", "{{ 1/0 }}"]
)
def test_a_source_whose_date_is_not_known_or_that_asks_for_more_is_refused(template: str) -> None:
    with pytest.raises(AirflowFailException, match="the run has no logical date, or the template is wrong"):
        _run(StepOperator(step="snapshot"), source=f"s3://bucket/{template}/train.csv")


SECRET_SOURCES = [
    "https://user:sesame@host/train.csv",
    "https://sesame@host/train.csv",
    "https://:sesame@host/train.csv",
    "s3://sesame:sesame@bucket/train.csv",
    "https://host/train.csv?X-Amz-Signature=sesame",
    "https://host/train.csv?a=b&access_token=sesame",
]


@pytest.mark.parametrize("source", SECRET_SOURCES)
def test_a_password_in_the_conf_is_refused_and_not_told(source: str) -> None:
    with pytest.raises(AirflowFailException, match="may not bear a password") as raised:
        _run(StepOperator(step="snapshot"), source=source)
    assert "sesame" not in str(raised.value)


def test_a_connection_gives_a_source_its_password(
    settings: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXPORTS", "https://user:p%40ss@host.example:8443")
    assert 'source.uri = "https://user:p%40ss@host.example:8443/a/train.csv"' in settings(
        source="conn://exports/a/train.csv"
    )


def test_a_source_by_a_connection_that_is_not_there_is_refused() -> None:
    with pytest.raises(AirflowFailException, match="there is no such connection"):
        _run(StepOperator(step="snapshot"), source="conn://nobody/train.csv")


@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "/data/../etc/passwd",
        "/database/train.csv",
        "https://example.org.evil.example/train.csv",
        "https://example.org/public/../private/train.csv",
        "https://example.org/public/%2e%2e/private/train.csv",
        "http://example.org/public/train.csv",
        "kaggle://competitions/other/train.csv",
        "sample:100",
    ],
)
def test_a_trigger_names_a_source_with_the_prefixes_only(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINCERE_SOURCES", "/data https://example.org/public, kaggle://competitions/quora/")
    with pytest.raises(AirflowFailException, match="a trigger may not name this source"):
        _run(StepOperator(step="snapshot"), source=source)


@pytest.mark.parametrize(
    "source",
    [
        "/data/train.csv",
        "file:/data/./a.csv",
        "https://EXAMPLE.org/public/a.csv",
        "HTTPS://example.org/public/a.csv",
        "/srv/own.csv",
    ],
)
def test_what_a_prefix_covers_and_what_production_says_may_be_named(
    source: str, settings: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SINCERE_SOURCES", "/data https://example.org/public, kaggle://competitions/quora/")
    monkeypatch.setenv("SINCERE_SOURCE", "/srv/own.csv")
    assert f'source.uri = "{source}"' in settings(source=source)


def test_a_trigger_names_a_file_of_settings_with_the_prefixes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINCERE_SOURCES", "/data")
    with pytest.raises(AirflowFailException, match="a trigger may not name this config"):
        _run(StepOperator(step="snapshot"), config="/tmp/mine.toml")


def test_an_evaluation_has_the_time_that_its_rows_need_by_the_measured_rate() -> None:
    splits = {"parts": [{"name": "train", "rows": 10**6}, {"name": "test", "rows": 130_000}]}
    assert evaluation_seconds(splits, {"examples_per_second": 20.0}) == 3600 + 4 * 130_000 / 20


def test_an_evaluation_that_takes_too_long_is_ended_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retraining.operators.evaluation_seconds", lambda *_: 0.3)
    monkeypatch.setenv("ML_PYTHON", _program(tmp_path, "sleep 60 & wait"))
    with pytest.raises(AirflowException, match=r"told to end \(signal 15\)"):
        _run(EvaluateOperator(records=[{}, {}]))
