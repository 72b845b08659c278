"""Params become overrides, and the config reads them as a person typed them."""

from types import SimpleNamespace

import pytest
from airflow.sdk.api.datamodels._generated import DagRunType
from retraining.params import config_overrides, folder_name, retraining_params, run_flags, trigger

from ml.config.load import load_config
from ml.errors import ConfigError

AWKWARD_PATH = """/data/Jane's "new" 50% = é 😀/a\\b.csv"""


def test_an_empty_form_changes_nothing() -> None:
    params = {name: param.value for name, param in retraining_params().items()}
    assert config_overrides(params) == []


def test_a_source_with_spaces_and_quotes_arrives_as_it_is() -> None:
    assert load_config("local", config_overrides({"source": AWKWARD_PATH})).source.uri == AWKWARD_PATH


def test_all_settings_reach_their_section() -> None:
    params = {
        "source": "questions.csv",
        "train_fraction": 0.6,
        "validation_fraction": 0.2,
        "test_fraction": 0.2,
        "epochs": 3,
        "learning_rate": 1e-05,
        "batch_size": 16,
        "warm_start": True,
    }
    config = load_config("local", config_overrides(params))
    assert (config.split.train, config.split.validation, config.split.test) == (0.6, 0.2, 0.2)
    assert (config.train.epochs, config.train.learning_rate, config.train.batch_size) == (3, 1e-05, 16)
    assert config.train.warm_start


@pytest.mark.parametrize(
    ("params", "flags"),
    [
        ({"dry_run": False, "force": False}, []),
        ({"dry_run": True, "force": False}, ["--dry-run"]),
        ({"dry_run": True, "force": True}, ["--dry-run", "--force"]),
    ],
)
def test_a_switch_becomes_a_flag(params: dict[str, bool], flags: list[str]) -> None:
    assert run_flags(params) == flags


def _bounds() -> list[tuple[str, float, float]]:
    return [
        (name, param.schema["minimum"], param.schema["maximum"])
        for name, param in retraining_params().items()
        if "minimum" in param.schema
    ]


@pytest.mark.parametrize(("name", "low", "high"), _bounds())
def test_the_form_has_the_bounds_of_the_config(name: str, low: float, high: float) -> None:
    room: dict[str, float] = {"train_fraction": 0.0001, "validation_fraction": 0.0001, "test_fraction": 0.0001}
    for value in (low, high):
        load_config("local", config_overrides(room | {name: value}))
    for value in (low / 10 if isinstance(low, float) else low - 1, high * 2):
        with pytest.raises(ConfigError, match="out of bounds"):
            load_config("local", config_overrides({name: value}))


@pytest.mark.parametrize(
    ("run_id", "name"),
    [
        ("manual__2026-11-23T10:00:00+00:00", "manual__2026-11-23T10_00_00_00_00"),
        ("../../etc", "_._.._etc"),
        ("-rf", "_rf"),
        ("my run/é", "my_run__"),
    ],
)
def test_a_run_id_becomes_one_folder_name(run_id: str, name: str) -> None:
    assert folder_name(run_id) == name


@pytest.mark.parametrize(
    ("run_type", "user", "text"),
    [
        (DagRunType.SCHEDULED, None, "Airflow, scheduled run"),
        (DagRunType.MANUAL, "eve", "Airflow, manual run by eve"),
    ],
)
def test_the_record_says_who_or_what_began_the_run(run_type: DagRunType, user: str | None, text: str) -> None:
    assert trigger(SimpleNamespace(run_type=run_type, triggering_user_name=user)) == text
