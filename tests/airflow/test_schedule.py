"""The schedule is a setting; a wrong one is a clear error of the DAG's import."""

from pathlib import Path

import pytest
from airflow.sdk import Asset, CronTriggerTimetable
from retraining.schedule import retraining_schedule, schedule_zone, source_asset

from ml.errors import ConfigError

PROJECT = Path(__file__).parents[2]


@pytest.fixture(params=["", "AIRFLOW_VAR_"], ids=["environment", "Variable"])
def setting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    def set_to(**settings: str) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"{request.param}SINCERE_{name.upper()}", value)

    return set_to


def test_it_is_weekly_unless_told_otherwise() -> None:
    assert retraining_schedule() == CronTriggerTimetable("@weekly", timezone="UTC")


def test_it_is_the_usual_one_while_airflows_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> str:
        raise ConnectionError

    monkeypatch.setattr("retraining.source.Variable.get", away)
    assert retraining_schedule() == CronTriggerTimetable("@weekly", timezone="UTC")


def test_it_is_a_cron_text_in_a_time_zone(setting) -> None:
    setting(schedule="30 3 * * 1", timezone="Europe/Zurich")
    assert retraining_schedule() == CronTriggerTimetable("30 3 * * 1", timezone="Europe/Zurich")
    assert schedule_zone() == "Europe/Zurich"


def test_it_is_nothing_by_hand(setting) -> None:
    setting(schedule="manual")
    assert retraining_schedule() is None


def test_it_is_the_event_that_the_source_changed(setting) -> None:
    setting(schedule="source", source="s3://bucket/train.csv")
    assert retraining_schedule() == [Asset("s3://bucket/train.csv")]


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("kaggle://competitions/quora/train.csv", "kaggle://competitions/quora/train.csv"),
        ("/data/train.csv", "file:///data/train.csv"),
        ("data/train.csv", (PROJECT / "data" / "train.csv").as_uri()),
        ("file:///data/train.csv", "file:///data/train.csv"),
    ],
)
def test_the_event_is_named_by_the_sources_address(monkeypatch: pytest.MonkeyPatch, source: str, address: str) -> None:
    monkeypatch.setenv("SINCERE_SOURCE", source)
    assert source_asset().uri == address


@pytest.mark.parametrize(
    "source", ["", "s3://bucket/{{ ds }}/train.csv", "https://user:sesame@host/train.csv", "sample:2000", "conn://id/x"]
)
def test_a_source_without_a_fixed_public_address_sends_no_event(setting, source: str) -> None:
    setting(schedule="source", source=source)
    with pytest.raises(ConfigError, match="no fixed public address") as error:
        retraining_schedule()
    assert "sesame" not in str(error.value)


@pytest.mark.parametrize(
    "schedule", ["weekly", "@once", "0 3 * *", "99 3 * * 1", "0 3 * * 1 5 7", "@never", "{{ ds }}"]
)
def test_what_is_no_schedule_is_refused_with_what_to_write(setting, schedule: str) -> None:
    setting(schedule=schedule)
    with pytest.raises(ConfigError, match="is no schedule") as error:
        retraining_schedule()
    assert "0 3 * * 1" in error.value.fix
    assert "SINCERE_SCHEDULE" in error.value.where


def test_what_is_no_time_zone_is_refused(setting) -> None:
    setting(timezone="Mars/Olympus")
    with pytest.raises(ConfigError, match="is no time zone") as error:
        retraining_schedule()
    assert "SINCERE_TIMEZONE" in error.value.where
