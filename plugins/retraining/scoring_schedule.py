"""When `score_questions` runs by itself: whenever there is a new champion, and at the times that production says."""

from zoneinfo import ZoneInfo

from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable

from retraining.source import shown_setting

_DEFAULT_TIMEZONE = "UTC"


def scoring_schedule(champion: Asset) -> list[Asset] | AssetOrTimeSchedule:
    """The champion's asset; with SINCERE_SCORE_SCHEDULE or its Variable, a cron expression, at these times too.

    They are in the time zone SINCERE_TIMEZONE, UTC by default. Raises ConfigError, which the UI shows as an import
    error: Airflow itself would find a wrong expression only when it looks for the next run.
    """
    cron = shown_setting("score_schedule")
    if cron is None:
        return [champion]
    timezone = shown_setting("timezone") or _DEFAULT_TIMEZONE
    _check(cron, timezone)
    return AssetOrTimeSchedule(timetable=CronTriggerTimetable(cron, timezone=timezone), assets=[champion])


def _check(cron: str, timezone: str) -> None:
    from croniter import croniter

    from ml.errors import ConfigError

    if not croniter.is_valid(cron):
        fix = "write five fields, such as 0 6 * * 1, or a name such as @daily"
        raise ConfigError(f"{cron[:40]!r} is no cron expression", where="SINCERE_SCORE_SCHEDULE", fix=fix)
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        what = f"there is no time zone {timezone[:40]!r}"
        raise ConfigError(what, where="SINCERE_TIMEZONE", fix="write one such as Europe/Berlin") from None
