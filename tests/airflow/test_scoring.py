"""The DAG `score_questions`: when it runs, what its form asks, and what the operator lets a trigger name."""

import runpy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Asset, AssetOrTimeSchedule
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow.sdk.exceptions import AirflowFailException
from retraining.operators import ScoreOperator
from retraining.params import run_name

from ml.errors import ConfigError
from tests.airflow.step.task_instance import task_instance

PROJECT = Path(__file__).parents[2]
SETTINGS = ("QUESTIONS", "SCORE_OUTPUT", "SCORE_OUTPUTS", "SCORE_SCHEDULE", "SOURCES", "CONFIG", "TIMEZONE")

pytestmark = pytest.mark.usefixtures("quick_steps")


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(f"SINCERE_{name}", raising=False)


def _load() -> DAG:
    return runpy.run_path(str(PROJECT / "dags" / "score_questions.py"))["score_questions"]


def test_by_itself_it_runs_when_there_is_a_new_champion() -> None:
    dag = _load()
    assert (dag.schedule, dag.catchup, dag.max_active_runs) == ([Asset("quora_champion")], False, 1)


def test_production_may_add_times_in_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINCERE_SCORE_SCHEDULE", "0 6 * * *")
    monkeypatch.setenv("SINCERE_TIMEZONE", "Europe/Berlin")
    schedule = _load().schedule
    assert isinstance(schedule, AssetOrTimeSchedule)
    assert [asset.name for asset in schedule.asset_condition.objects] == ["quora_champion"]
    assert (schedule.timetable.expression, str(schedule.timetable.timezone)) == ("0 6 * * *", "Europe/Berlin")


@pytest.mark.parametrize(
    ("cron", "zone", "message"),
    [
        ("every day", "UTC", r"'every day' is no schedule(.|\n)*SINCERE_SCORE_SCHEDULE(.|\n)*0 6 \* \* 1"),
        ("0 25 * * *", "UTC", "is no schedule"),
        ("0 6 * * *", "Mars/Base", r"Mars/Base(.|\n)*SINCERE_TIMEZONE"),
    ],
)
def test_a_schedule_that_cannot_be_says_so_when_the_dag_is_read(
    monkeypatch: pytest.MonkeyPatch, cron: str, zone: str, message: str
) -> None:
    monkeypatch.setenv("SINCERE_SCORE_SCHEDULE", cron)
    monkeypatch.setenv("SINCERE_TIMEZONE", zone)
    with pytest.raises(ConfigError, match=message):
        _load()


def test_it_has_one_task_where_the_gpu_is_which_is_retried() -> None:
    (task,) = _load().tasks
    assert (task.task_id, task.pool, task.queue) == ("score", "gpu", "gpu")
    assert (task.retries, task.execution_timeout) == (3, timedelta(hours=24))


def test_the_form_has_help_and_shows_what_production_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINCERE_QUESTIONS", "s3://lake/questions.parquet")
    monkeypatch.setenv("AIRFLOW_VAR_SINCERE_SCORE_OUTPUT", "s3://lake/scored.parquet")
    params = _load().params
    assert {name: params[name] for name in params} == {
        "questions": "s3://lake/questions.parquet",
        "output": "s3://lake/scored.parquet",
        "config": "local",
        "dry_run": False,
    }
    given = [params.get_param(name) for name in params]
    assert all(param.schema.get("title") and param.description for param in given)


def _told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **params: Any) -> list[str]:
    """Run the operator with a program that keeps its settings and arguments, and return these."""
    program = tmp_path / "program.sh"
    program.write_text(
        f'#!/bin/bash\ncat "$5" > {tmp_path}/seen; echo >> {tmp_path}/seen; echo "$@" >> {tmp_path}/seen; exit 65'
    )
    program.chmod(0o755)
    monkeypatch.setenv("ML_PYTHON", str(program))
    operator = ScoreOperator(dag=DAG("score_questions", schedule=None))
    operator.config = "local"
    context = {
        "params": {"questions": None, "output": None, "config": "local", "dry_run": False} | params,
        "run_id": "scheduled__1",
        "dag_run": SimpleNamespace(
            run_type=DagRunType.ASSET_TRIGGERED,
            triggering_user_name=None,
            run_after=datetime(2026, 11, 29, tzinfo=UTC),
            conf=params,
        ),
        "ti": task_instance("score_questions", "scheduled__1", "score"),
    }
    with pytest.raises(AirflowFailException) as caught:
        ScoreOperator.execute.__wrapped__(operator, context)
    if "status 65" not in str(caught.value):
        raise caught.value
    return (tmp_path / "seen").read_text().splitlines()


def test_the_command_is_that_of_the_command_line_and_settings_go_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SINCERE_QUESTIONS", "https://user:sesame@host/q.csv")
    *settings, command = _told(tmp_path, monkeypatch, output="/data/scored.csv", dry_run=True)
    assert settings == [
        'extends = "local"',
        'source.uri = "https://user:sesame@host/q.csv"',
        'score.output = "/data/scored.csv"',
    ]
    assert command.startswith("-m ml score --config ")
    assert "--dry-run --run-id score_questions.scheduled__1 --triggered-by=Airflow, asset_triggered run" in command


def test_reports_of_two_dags_whose_runs_have_the_same_id_are_kept_apart() -> None:
    assert run_name("score_questions", "scheduled__2026-11-29T00:00:00+00:00") == (
        "score_questions.scheduled__2026-11-29T00_00_00_00_00"
    )


def test_credentials_come_by_connection_and_the_date_of_a_run_that_an_asset_started_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", "https://user:sesame@host")
    day = '{{ run_after.strftime("%Y-%m-%d") }}'
    settings = _told(tmp_path, monkeypatch, questions=f"conn://lake/{day}.csv", output=f"s3://lake/{day}/scored.csv")
    assert settings[1:3] == [
        'source.uri = "https://user:sesame@host/2026-11-29.csv"',
        'score.output = "s3://lake/2026-11-29/scored.csv"',
    ]


@pytest.mark.parametrize("questions", ["s3://others/q.csv", "/etc/passwd", "s3://lake/../q.csv"])
def test_where_sources_are_limited_a_trigger_reads_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, questions: str
) -> None:
    monkeypatch.setenv("SINCERE_SOURCES", "s3://lake/,")
    with pytest.raises(AirflowFailException, match=r"may not name this questions(.|\n)*SINCERE_SOURCES"):
        _told(tmp_path, monkeypatch, questions=questions)
    assert _told(tmp_path, monkeypatch, questions="s3://lake/q.csv")[1] == 'source.uri = "s3://lake/q.csv"'


def test_where_sources_are_limited_a_trigger_writes_only_where_production_lets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"questions": "s3://lake/q.csv", "output": "s3://lake/scored/a.csv"}
    monkeypatch.setenv("SINCERE_SOURCES", "s3://lake/")
    with pytest.raises(AirflowFailException, match=r"may not name this output(.|\n)*SINCERE_SCORE_OUTPUTS"):
        _told(tmp_path, monkeypatch, **asked)
    monkeypatch.setenv("SINCERE_SCORE_OUTPUTS", "s3://lake/scored/")
    assert _told(tmp_path, monkeypatch, **asked)[2] == 'score.output = "s3://lake/scored/a.csv"'
    with pytest.raises(AirflowFailException, match="may not name this output"):
        _told(tmp_path, monkeypatch, questions="s3://lake/q.csv", output="/opt/airflow/dags/mine.py")


def test_production_itself_writes_where_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINCERE_SOURCES", "s3://lake/")
    monkeypatch.setenv("SINCERE_SCORE_OUTPUT", "gs://pond/scored.csv")
    assert _told(tmp_path, monkeypatch, questions="s3://lake/q.csv")[2] == 'score.output = "gs://pond/scored.csv"'


@pytest.mark.parametrize("name", ["questions", "output"])
def test_a_password_in_a_runs_conf_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(AirflowFailException, match="may not bear a password") as caught:
        _told(tmp_path, monkeypatch, **{name: "https://user:sesame@host/q.csv"})
    assert "sesame" not in str(caught.value)


def test_an_unknown_key_of_the_conf_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AirflowFailException, match=r"unknown key 'source'(.|\n)*known here: config, dry_run, output"):
        _told(tmp_path, monkeypatch, source="q.csv")
