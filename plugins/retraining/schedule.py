"""When a DAG runs: SINCERE_SCHEDULE and SINCERE_TIMEZONE, or Airflow's Variables of these names in lower case."""

from pathlib import Path
from typing import Any

from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable

from retraining import PROJECT
from retraining.model import QUORA, Model
from retraining.source import shown_setting

WEEKLY = "@weekly"
# A run judges the champion of now on the file of now: there is no past to fill in.
RUN_TYPES: Any = ("scheduled", "manual", "operator_triggered", "asset_triggered", "asset_materialization")
NO_BACKFILL = "a run judges the champion of now on the file of now: there is nothing to backfill"

_PRESETS = {"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@quarterly", "@yearly", "@annually"}
_FIELDS = 5
_LONGEST = 60


def retraining_schedule(model: Model = QUORA) -> Any:
    """Return the DAG's schedule: weekly, a cron text, the event of the source, or None for `manual`.

    Raises ConfigError for anything else: the DAG then has an import error that says so.
    """
    told = (shown_setting("schedule", model) or WEEKLY).strip()
    if told == "manual":
        return None
    if told == "source":
        return [source_asset(model)]
    if not _is_cron(told):
        raise _wrong(
            f"{told[:_LONGEST]!r} is no schedule",
            "write five fields of cron, 0 3 * * 1, or @daily, @weekly, @monthly; or manual; or source",
            where=model.told_by("schedule"),
        )
    return CronTriggerTimetable(told, timezone=schedule_zone())


def scoring_schedule(model: Model = QUORA) -> Any:
    """Return the schedule of scoring: the champion's asset, and the times of SINCERE_SCORE_SCHEDULE, a cron text.

    Raises ConfigError for a text that is none.
    """
    told = (shown_setting("score_schedule", model) or "").strip()
    if not told:
        return [model.champion]
    if not _is_cron(told):
        raise _wrong(
            f"{told[:_LONGEST]!r} is no schedule",
            "write five fields of cron, 0 6 * * 1, or @daily, @weekly, @monthly",
            where=model.told_by("score_schedule"),
        )
    return AssetOrTimeSchedule(timetable=CronTriggerTimetable(told, timezone=schedule_zone()), assets=[model.champion])


def schedule_zone() -> str:
    """Return the name of the schedule's time zone, which is that of the freeze windows too; raises ConfigError."""
    from ml.config.freeze import read_zone

    zone = shown_setting("timezone") or "UTC"
    read_zone(zone, QUORA.told_by("timezone"))
    return zone


def source_asset(model: Model = QUORA) -> Asset:
    """Return the asset that is named by the source's address, as a DAG that writes the file names it."""
    source, variable = shown_setting("source", model) or "", model.variable("source")
    if not source or "{{" in source or "{%" in source or source.startswith(("sample:", "conn:")):
        raise _wrong(
            f"the schedule `source` waits for an event of {variable}, which has no fixed public address",
            f"set {variable} to an address without a date and a password, or write a cron text",
            where=model.told_by("schedule"),
        )
    return Asset(source if "://" in source else _file_address(source))


def _file_address(source: str) -> str:
    from ml.config.source_address import local_path

    return Path(PROJECT, local_path(source)).as_uri()


def _is_cron(text: str) -> bool:
    from croniter import croniter

    return text in _PRESETS or (len(text.split()) == _FIELDS and bool(croniter.is_valid(text)))


def _wrong(what: str, fix: str, *, where: str) -> Exception:
    from ml.errors import ConfigError

    return ConfigError(what, where=where, fix=fix)
