"""A second model takes six lines: its DAGs have settings, home, registry, asset and notices of its own."""

import re
import runpy
from pathlib import Path

import pytest
from airflow.sdk import DAG, Asset, CronTriggerTimetable
from retraining.dags import retraining_dag, rollback_dag, scoring_dag
from retraining.model import QUORA, Model, model_of
from retraining.notices.deadline import tell_late
from retraining.notices.notifier import FailureNotifier
from retraining.source import source_of

from ml.errors import ConfigError
from tests.airflow.notices.servers import connection, webhook
from tests.airflow.notices.test_deadline import _context as late
from tests.airflow.notices.test_notifier import _ended
from tests.airflow.test_operators import QUESTIONS, _run

PROJECT = Path(__file__).parents[2]
TOXIC = Model("toxic")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SINCERE_REGISTRY", raising=False)
    return tmp_path / "home"


@pytest.fixture
def dag() -> DAG:
    return retraining_dag("retrain_toxic", TOXIC)


def test_the_six_lines_of_the_tour_give_its_four_dags(tmp_path: Path) -> None:
    text = (PROJECT / "docs" / "airflow.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "toxic.py").write_text(lines)
    made = [each for each in runpy.run_path(str(tmp_path / "toxic.py")).values() if isinstance(each, DAG)]
    assert {dag.dag_id: dag.tags for dag in made} == {
        "retrain_toxic": {"model:toxic", "retraining"},
        "rollback_toxic": {"model:toxic", "rollback"},
        "score_toxic": {"model:toxic", "scoring"},
        "clean_up_toxic": {"model:toxic", "cleaning"},
    }
    assert "airflow" in lines.lower(), "Airflow passes over a file without this word"


def test_a_dag_is_about_the_model_of_its_tag() -> None:
    assert model_of(["model:toxic", "retraining"]) == TOXIC
    assert model_of(["quora", "retraining"]) == QUORA


@pytest.mark.parametrize("name", ["", "Toxic", "toxic comments", "a__b", "../b", "1st", "a" * 61])
def test_a_name_that_is_no_part_of_a_path_and_a_variable_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name of a model"):
        Model(name)


def test_it_waits_for_and_tells_of_its_own_asset(dag: DAG) -> None:
    assert dag.get_task("promote").outlets[0].name == "toxic_champion_promotions"
    assert rollback_dag("rollback_toxic", TOXIC).get_task("rollback").outlets == [Asset("toxic_champion")]
    assert scoring_dag("score_toxic", TOXIC).schedule == [Asset("toxic_champion")]


@pytest.mark.parametrize("prefix", ["", "AIRFLOW_VAR_"])
def test_its_settings_bear_its_name(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SCHEDULE": "@daily", "SOURCE": "toxic.csv", "CONFIG": "bert-base"}.items():
        monkeypatch.setenv(f"{prefix}SINCERE__TOXIC__{name}", value)
    dag = retraining_dag("retrain_toxic", TOXIC)
    assert dag.schedule == CronTriggerTimetable("@daily", timezone="UTC")
    assert (dag.params["source"], dag.params["config"]) == ("toxic.csv", "bert-base")
    assert "SINCERE__TOXIC__SCHEDULE, or the Variable sincere__toxic__schedule" in str(dag.doc_md)


def test_it_never_trains_on_the_other_models_file(monkeypatch: pytest.MonkeyPatch, dag: DAG) -> None:
    monkeypatch.setenv("SINCERE_SOURCE", "quora.csv")
    monkeypatch.setenv("SINCERE_SCHEDULE", "manual")
    assert source_of({"source": None}, model=TOXIC) is None
    assert dag.params["source"] is None
    assert dag.schedule == CronTriggerTimetable("@weekly", timezone="UTC")


def test_a_wrong_setting_is_named_as_the_model_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINCERE__TOXIC__SCHEDULE", "weekly")
    with pytest.raises(ConfigError) as caught:
        retraining_dag("retrain_toxic", TOXIC)
    assert caught.value.where == "SINCERE__TOXIC__SCHEDULE, or the Variable sincere__toxic__schedule"


@pytest.mark.parametrize(
    ("told", "registry"),
    [
        ({}, "file:{home}/models/toxic/registry"),
        ({"SINCERE__TOXIC__REGISTRY": "wandb://a/b/toxic"}, "wandb://a/b/toxic"),
    ],
)
def test_a_step_is_given_its_own_home_and_registry(
    told: dict[str, str], registry: str, dag: DAG, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SINCERE_REGISTRY", "wandb://a/b/quora")
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    given = dag.get_task("promote")._environment()
    assert given["SINCERE_HOME"] == f"{home}/models/toxic"
    assert given["SINCERE_REGISTRY"] == registry.format(home=home)
    usual = retraining_dag("retrain_quora", QUORA).get_task("promote")._environment()
    assert (usual["SINCERE_HOME"], usual["SINCERE_REGISTRY"]) == (str(home), "wandb://a/b/quora")


def test_a_step_is_given_its_own_prefix_of_the_object_store_and_the_stores_keys(
    monkeypatch: pytest.MonkeyPatch, dag: DAG
) -> None:
    monkeypatch.setenv("SINCERE_STORE", "s3://bucket/team/")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://the-user:the-secret@")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    given = dag.get_task("promote")._environment()
    assert given["SINCERE_STORE"] == given["SINCERE_REGISTRY"] == "s3://bucket/team/models/toxic"
    assert given["AWS_SECRET_ACCESS_KEY"] == "the-secret"

    usual = retraining_dag("retrain_quora", QUORA).get_task("promote")
    assert usual._environment()["SINCERE_STORE"] == "s3://bucket/team/"
    monkeypatch.delenv("SINCERE_STORE")
    assert "AWS_SECRET_ACCESS_KEY" not in usual._environment()


def test_a_real_step_leaves_all_that_it_makes_in_its_own_home(dag: DAG, home: Path, tmp_path: Path) -> None:
    (tmp_path / "questions.csv").write_text(QUESTIONS)
    record = _run(dag.get_task("snapshot"), source=str(tmp_path / "questions.csv"))
    assert record["rows"] == 4
    assert sorted(path.name for path in home.iterdir()) == ["models"]
    assert {"reports", "store"} <= {path.name for path in (home / "models" / "toxic").iterdir()}


def test_a_notice_names_the_model_and_goes_to_its_own_channel(dag: DAG, monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as team, webhook() as others:
        monkeypatch.setenv("AIRFLOW_CONN_TEAM", connection(team.address))
        monkeypatch.setenv("AIRFLOW_CONN_OTHERS", connection(others.address))
        monkeypatch.setenv("SINCERE_NOTIFY", "all=others")
        FailureNotifier().notify(_ended(dag.get_task("train")))
        monkeypatch.setenv("SINCERE__TOXIC__NOTIFY", "all=team")
        FailureNotifier().notify(_ended(dag.get_task("train")))
        tell_late(late("running"), "toxic")
        assert others.titles == ["toxic: Failed: the task train ended the run"]
        assert team.titles == [
            "toxic: Failed: the task train ended the run",
            "toxic: Late: the run manual__1+1 has not ended by its deadline",
        ]
