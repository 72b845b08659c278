"""A freeze window is read from days, times or cron; a wrong one is refused when the settings are read."""

from datetime import datetime

import pytest

from ml.config.freeze import parse_window, read_zone
from ml.config.load import load_config
from ml.errors import ConfigError


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        (
            "12-20/01-02",
            ["2026-12-20T00:00", "2026-12-31T23:59", "2027-01-02T23:59"],
            ["2026-12-19T23:59", "2027-01-03"],
        ),
        ("03-01/03-05", ["2026-03-01", "2027-03-05T23:59"], ["2026-02-28", "2026-03-06", "2026-12-31"]),
        ("02-29", ["2028-02-29T12:00"], ["2026-02-28", "2026-03-01"]),
        ("2026-12-20/2027-01-02", ["2026-12-20", "2027-01-02T23:59"], ["2025-12-25", "2027-12-25"]),
        ("2026-12-24", ["2026-12-24T09:00"], ["2026-12-23T23:59", "2026-12-25"]),
        (
            "2026-12-31T18:00/2027-01-01T08:00",
            ["2026-12-31T18:00", "2027-01-01T08:00:59"],
            ["2026-12-31T17:59", "2027-01-01T08:01"],
        ),
        ("* 18-23 * * fri", ["2026-11-27T18:00", "2026-11-27T23:59"], ["2026-11-27T17:59", "2026-11-26T20:00"]),
        ("* * * * sat,7", ["2026-11-28", "2026-11-29"], ["2026-11-27", "2026-11-30"]),
        ("*/15 9-17/4 1 jan-mar *", ["2026-01-01T09:45", "2026-03-01T17:00"], ["2026-01-01T10:00", "2026-04-01T09:00"]),
        ("30 5/6 * * *", ["2026-01-01T05:30", "2026-01-01T23:30"], ["2026-01-01T06:30"]),
    ],
)
def test_a_window_has_these_times_and_not_those(window: str, inside: list[str], outside: list[str]) -> None:
    contains = parse_window(window)
    assert [contains(datetime.fromisoformat(each)) for each in inside] == [True] * len(inside)
    assert [contains(datetime.fromisoformat(each)) for each in outside] == [False] * len(outside)


@pytest.mark.parametrize(
    "window",
    [
        "",
        "christmas",
        "13-01/13-05",
        "02-30",
        "12-20/",
        "12-20/2027-01-02",
        "2027-02-29",
        "2027-01-02/2026-12-20",
        "2026-12-31T18:00/2026-12-31T25:00",
        "* 24 * * *",
        "* * * * fri-mon",
        "*/0 * * * *",
        "* * 0 * *",
        "* * * *",
        "-1 * * * *",
    ],
)
def test_what_is_no_window_is_refused_when_the_settings_are_read(window: str) -> None:
    with pytest.raises(ConfigError, match="is no freeze window") as error:
        load_config("local", [f'policy.freeze=["{window}"]'])
    assert "12-20/01-02" in error.value.fix


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", ""])
def test_what_is_no_time_zone_is_refused_when_the_settings_are_read(zone: str) -> None:
    with pytest.raises(ConfigError, match="is no time zone"):
        load_config("local", [f'policy.timezone="{zone}"'])


def test_a_time_zone_is_read_by_its_name() -> None:
    assert read_zone("Europe/Zurich", "here").key == "Europe/Zurich"


def test_the_settings_that_ask_a_person_decide_no_model() -> None:
    asking = [
        "policy.approval=always",
        'policy.freeze=["12-20"]',
        "policy.approval_hours=1",
        "policy.timezone=Asia/Tokyo",
    ]
    assert load_config("local", asking).policy.deciding == load_config("local").policy
