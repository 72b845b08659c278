"""The DAG has the tasks, the dependencies, the settings and the Params that a person would draw."""

import re
import runpy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG, CronTriggerTimetable
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization
from retraining.outcome.run_outcome import ENDED, FAILED

PROJECT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 25, tzinfo=UTC)
ENDS = (*ENDED, *FAILED)


@pytest.fixture(scope="module")
def dag() -> DAG:
    return _load("retrain_quora")


@pytest.fixture(scope="module")
def rollback() -> DAG:
    return _load("rollback_model")


def _load(name: str) -> DAG:
    return runpy.run_path(str(PROJECT / "dags" / f"{name}.py"))[name]


def test_a_rollback_runs_on_a_persons_word_only(rollback: DAG) -> None:
    assert (rollback.schedule, rollback.max_active_runs, [task.task_id for task in rollback.tasks]) == (
        None,
        1,
        ["rollback"],
    )


def test_a_rollback_is_tried_again_as_the_other_steps_are(dag: DAG, rollback: DAG) -> None:
    settings = ("retries", "retry_delay", "retry_exponential_backoff", "max_retry_delay", "execution_timeout")
    (back,) = rollback.tasks
    assert [getattr(back, name) for name in settings] == [getattr(dag.get_task("promote"), name) for name in settings]


def test_a_rollback_needs_a_reason_and_no_version(rollback: DAG) -> None:
    assert rollback.params["version"] is None
    with pytest.raises(ParamValidationError):
        rollback.params.validate()


def test_the_arrows_are_those_of_the_pipeline(dag: DAG) -> None:
    assert {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks} == {
        "snapshot": ["detect", "split", "validate"],
        "detect": ["validate"],
        "validate": ["split"],
        "split": ["evaluate", "train"],
        "train": ["evaluate"],
        "evaluate": ["approve", "decide", "probe", "promote"],
        "probe": ["approve", "decide", "promote"],
        "decide": ["approve"],
        "approve": ["promote"],
        "promote": ["verdict"],
        "verdict": sorted(ENDS),
        **{end: [] for end in ENDS},
    }


def test_the_verdict_is_told_whatever_failed_and_is_not_told_twice(dag: DAG) -> None:
    assert dag.get_task("verdict").trigger_rule == "all_done"
    assert {dag.get_task(task).retries for task in ("verdict", *ENDS)} == {0}


def test_it_runs_weekly_once_at_a_time_without_catching_up(dag: DAG) -> None:
    settings = {"schedule": dag.schedule, "catchup": dag.catchup, "max_active_runs": dag.max_active_runs}
    weekly = CronTriggerTimetable("@weekly", timezone="UTC")
    assert settings == {"schedule": weekly, "catchup": False, "max_active_runs": 1}


def test_airflow_refuses_a_backfill_and_the_page_says_why(dag: DAG) -> None:
    assert "backfill" not in {kind.value for kind in dag.allowed_run_types}
    assert "There is nothing to backfill" in dag.doc_md


def test_where_nobody_is_asked_promote_runs_all_the_same(dag: DAG) -> None:
    assert dag.get_task("promote").trigger_rule == "none_failed_min_one_success"


def test_a_person_is_given_a_reason_to_fill_in_and_two_answers(dag: DAG) -> None:
    approve = dag.get_task("approve")
    assert (list(approve.params), approve.options, approve.defaults) == (["reason"], ["Approve", "Reject"], ["Reject"])


def test_what_runs_models_on_many_rows_goes_where_the_gpu_is(dag: DAG) -> None:
    assert {task.task_id: (task.pool, task.queue) for task in dag.tasks if "gpu" in (task.pool, task.queue)} == {
        "train": ("gpu", "gpu"),
        "evaluate": ("gpu", "gpu"),
    }


def test_every_task_has_a_timeout_and_retries_with_growing_delays(dag: DAG) -> None:
    steps = [task for task in dag.tasks if task.task_id not in ("verdict", *ENDS)]
    assert {task.task_id: (task.execution_timeout, task.retries) for task in steps} == {
        "snapshot": (timedelta(hours=3), 3),
        "detect": (timedelta(hours=1), 3),
        "validate": (timedelta(hours=1), 3),
        "split": (timedelta(hours=1), 3),
        "train": (timedelta(hours=24), 3),
        "evaluate": (timedelta(hours=24), 3),
        "decide": (timedelta(hours=1), 3),
        "probe": (timedelta(hours=1), 3),
        "approve": (timedelta(hours=1), 3),
        "promote": (timedelta(hours=1), 3),
    }
    assert {task.retry_exponential_backoff for task in dag.tasks} == {2}


def test_params_say_their_type_and_bounds(dag: DAG) -> None:
    documented = ("title", "description", "examples", "section", "values_display")
    params = {
        name: {"default": param.value} | {key: value for key, value in param.schema.items() if key not in documented}
        for name, param in dag.params.items()
    }
    fraction = {"default": None, "type": ["null", "number"], "minimum": 0.0001, "maximum": 0.999}
    assert params == {
        "source": {"default": None, "type": ["null", "string"], "maxLength": 4096},
        "config": {"default": "local", "type": "string", "minLength": 1},
        "train_fraction": fraction,
        "validation_fraction": fraction,
        "test_fraction": fraction,
        "epochs": {"default": None, "type": ["null", "integer"], "minimum": 1, "maximum": 100},
        "learning_rate": {"default": None, "type": ["null", "number"], "minimum": 1e-8, "maximum": 1},
        "batch_size": {"default": None, "type": ["null", "integer"], "minimum": 1, "maximum": 4096},
        "warm_start": {"default": None, "type": ["null", "boolean"]},
        "approval": {"default": None, "type": ["null", "string"], "enum": [None, "never", "borderline", "always"]},
        "dry_run": {"default": False, "type": "boolean"},
        "force": {"default": False, "type": "boolean"},
    }


def test_the_form_has_four_sections(dag: DAG) -> None:
    sections: dict[str, list[str]] = {}
    for name, param in dag.params.items():
        sections.setdefault(param.schema["section"], []).append(name)
    assert sections == {
        "Data": ["source"],
        "Split": ["train_fraction", "validation_fraction", "test_fraction"],
        "Training": ["epochs", "learning_rate", "batch_size", "warm_start"],
        "Run": ["config", "approval", "dry_run", "force"],
    }


def test_help_says_the_bounds_and_what_an_empty_field_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINCERE_CONFIG", "bert-base")
    epochs = _load("retrain_quora").params.get_param("epochs")
    assert epochs.description == (
        "Passes over the training rows, at most. From 1 to 100. Empty: 5, from the config bert-base."
    )


def test_a_config_that_is_not_there_leaves_the_form_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINCERE_CONFIG", "away.toml")
    assert "Empty" not in _load("retrain_quora").params.get_param("epochs").description


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"epochs": 0}, "Invalid input for param epochs: 0 is less than the minimum of 1"),
        ({"approval": "sometimes"}, "Invalid input for param approval: 'sometimes' is not one of"),
        ({"learning_rate": "fast"}, "Invalid input for param learning_rate: 'fast' is not of type 'null', 'number'"),
    ],
)
def test_a_wrong_value_is_refused_with_the_same_words_by_form_api_and_dags_test(
    dag: DAG, conf: dict[str, object], words: str
) -> None:
    """All three make a run by this one function of Airflow; the form shows the API's words."""
    made = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        made.create_dagrun(
            run_id="r", run_type="manual", state="queued", triggered_by="rest_api", run_after=NOW, conf=conf
        )


def test_a_rollback_proposes_former_champions_and_takes_any_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    (tmp_path / "reports").mkdir()
    kept = '{"v3": "v3 (2026-11-25, precision 0.8400, recall 0.8333)"}'
    (tmp_path / "reports" / "rollback_choices.json").write_text(kept)
    params = _load("rollback_model").params
    version = params.get_param("version")
    assert (version.schema["examples"], "v3 (2026-11-25" in version.description) == (["v3"], True)
    params["reason"], params["version"] = "it is slow", "v1"
    assert params.validate()["version"] == "v1"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"v1": 1}'])
def test_a_damaged_list_of_former_champions_takes_no_dag_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "rollback_choices.json").write_text(content)
    assert list(_load("rollback_model").params) == ["version", "reason", "force"]


@pytest.mark.parametrize("prefix", ["", "AIRFLOW_VAR_"])
def test_the_form_shows_what_production_says(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv(f"{prefix}SINCERE_SOURCE", "s3://bucket/{{ ds }}/train.csv")
    monkeypatch.setenv(f"{prefix}SINCERE_CONFIG", "bert-base")
    params = _load("retrain_quora").params
    assert (params["source"], params["config"]) == ("s3://bucket/{{ ds }}/train.csv", "bert-base")


def test_the_form_shows_no_password_and_no_empty_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINCERE_SOURCE", "https://user:sesame@host/train.csv")
    monkeypatch.setenv("SINCERE_CONFIG", "")
    params = _load("retrain_quora").params
    assert (params["source"], params["config"]) == (None, "local")


def test_every_param_has_a_title_and_help(dag: DAG) -> None:
    assert [name for name, param in dag.params.items() if not (param.schema.get("title") and param.description)] == []


def test_the_dag_is_documented_and_tagged(dag: DAG) -> None:
    assert dag.tags == {"quora", "retraining"}
    assert "python -m ml STEP" in dag.doc_md
