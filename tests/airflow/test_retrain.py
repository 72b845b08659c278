"""`make retrain` as a person runs it: the real DAG and steps, a generated CSV, a tiny encoder, and a W&B server."""

import csv
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from retraining.outcome.run_outcome import ENDED, FAILED

from ml.source.sample import write_sample
from ml.steps import STEPS
from tests.airflow.notices.servers import PASSWORD, SECRET, Webhook, connection, webhook
from tests.forked_airflow import quick_make
from tests.processes import watched_command_lines
from tests.tiny import write_tiny_config
from tests.wandb_server import WandbServer, serving
from tests.wandb_server.state import Run

PROJECT = Path(__file__).parents[2]

Retrain = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a config and with a CSV whose name needs quotes; the state goes there too."""
    folder = tmp_path_factory.mktemp("retrain")
    write_sample(folder / "Jane's new questions.csv", rows=1500, seed=1)
    write_tiny_config(folder)
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[WandbServer]:
    """Start a W&B server; only a connection of Airflow has its key."""
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def team() -> Iterator[Webhook]:
    """A webhook that is told everything; only a connection of Airflow has its address."""
    with webhook() as team:
        yield team


@pytest.fixture(scope="module")
def retrain(place: Path, server: WandbServer, team: Webhook) -> Retrain:
    key = json.dumps({"conn_type": "generic", "password": server.key})
    wandb = {"WANDB_BASE_URL": server.url, "AIRFLOW_CONN_WANDB_DEFAULT": key}
    notices = {"SINCERE_NOTIFY": "all=team", "AIRFLOW_CONN_TEAM": connection(team.address)}

    def run(
        source: Path = place / "Jane's new questions.csv", *, make: list[str], **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "MAKE"))}
        environment |= {"SINCERE_HOME": str(place / "my state"), **wandb, **notices, **variables}
        return subprocess.run(
            [*make, "retrain", f"SOURCE={source}", f"CONFIG={place / 'tiny.toml'}"],
            cwd=PROJECT,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture(scope="module")
def again(retrain: Retrain, tmp_path_factory: pytest.TempPathFactory, python: str) -> Retrain:
    """The same in processes that wait for no import."""
    return partial(retrain, make=quick_make(tmp_path_factory.mktemp("bin"), python=python), ML_PYTHON=python)


@pytest.fixture(scope="module")
def command_lines() -> list[str]:
    """The command lines of all processes that ran during the first run."""
    return []


@pytest.fixture(scope="module")
def some_steps_for_themselves(tmp_path_factory: pytest.TempPathFactory, python: str) -> Path:
    """A Python that starts anew for each step, but for those whose imports the step `train` has, too."""
    program = tmp_path_factory.mktemp("steps") / "python"
    quick = f'case $3 in validate | split | evaluate | decide) exec {shlex.quote(python)} "$@" ;; esac'
    program.write_text(f'#!/bin/sh\n{quick}\nexec {shlex.quote(sys.executable)} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture(scope="module")
def first(
    retrain: Retrain, command_lines: list[str], some_steps_for_themselves: Path
) -> "subprocess.CompletedProcess[str]":
    with watched_command_lines(command_lines):
        return retrain(make=["make", "--assume-old=.venv/installed-all"], ML_PYTHON=str(some_steps_for_themselves))


@pytest.fixture(scope="module")
def runs(first: object, server: WandbServer) -> dict[str, Run]:
    """The W&B runs of the first DAG run, by job type."""
    group = next(iter(server.state.runs.values())).group
    return {run.job_type: run for run in server.state.runs.values() if run.group == group}


@pytest.fixture(scope="module")
def second(first: object, again: Retrain) -> "subprocess.CompletedProcess[str]":
    return again()


@pytest.mark.parametrize(("value", "asked"), [("1", True), ("", False), ("0", False), ("false", False), ("no", False)])
def test_what_is_switched_off_is_not_asked(value: str, asked: bool) -> None:
    command = ["make", "--eval", 'asked: ; @echo "$$FORCE$$DRY_RUN"', "asked", f"FORCE={value}", f"DRY_RUN={value}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    printed = subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True, text=True).stdout
    assert bool(printed.strip()) is asked


def test_a_first_run_promotes_and_prints_the_verdict(first: "subprocess.CompletedProcess[str]") -> None:
    assert first.returncode == 0, first.stdout + first.stderr
    assert "PROMOTE: " in first.stdout


def test_the_same_again_is_no_work_and_a_success(second: "subprocess.CompletedProcess[str]") -> None:
    assert second.returncode == 0, second.stdout + second.stderr
    assert "UNCHANGED: " in second.stdout


@pytest.mark.usefixtures("second")
def test_only_the_promotion_told_those_who_wait_for_a_champion(place: Path) -> None:
    query = "select asset.name from asset_event join asset on asset.id = asset_event.asset_id"
    with sqlite3.connect(place / "my state" / "airflow" / "airflow.db") as database:
        assert database.execute(query).fetchall() == [("quora_champion",)]


def _logs(place: Path, run: int) -> dict[str, list[str]]:
    """The lines of each task's log in the UI, of the n-th run."""
    folders = sorted((place / "my state" / "airflow" / "logs" / "dag_id=retrain_quora").iterdir())
    files = {file.parent.name.removeprefix("task_id="): file for file in folders[run].rglob("attempt=1.log")}
    return {task: [json.loads(line)["event"] for line in file.read_text().splitlines()] for task, file in files.items()}


def test_each_tasks_log_begins_with_what_it_took_and_ends_with_what_it_gave(first: object, place: Path) -> None:
    logs = _logs(place, 0)
    for step in STEPS:
        assert logs[step][0].startswith("takes: settings of local: source.uri = "), step
        assert logs[step][-1].startswith("gives: "), step
    taken = [line.partition(" ")[2] for line in logs["split"] if line.startswith("takes: ")]
    assert taken[1:] == [logs[step][-1].partition(" ")[2] for step in ("snapshot", "validate")]


def test_the_terminal_is_told_once_what_the_log_has(first: "subprocess.CompletedProcess[str]") -> None:
    assert "takes: " not in first.stdout
    assert first.stdout.count("gives: ") == len(STEPS)


def test_the_champions_asset_says_how_good_it_is_and_where_to_look(first: object, place: Path) -> None:
    with sqlite3.connect(place / "my state" / "airflow" / "airflow.db") as database:
        ((extra,),) = database.execute("select extra from asset_event").fetchall()
    told = json.loads(extra)
    assert (told["version"], told["verdict"]) == ("v1", "promoted")
    assert 0 <= told["precision"] <= 1
    assert 0 <= told["recall"] <= 1
    assert re.fullmatch(r"http://localhost:8080/dags/retrain_quora/runs/manual__[^/]+/plugin/report", told["report"])


@pytest.fixture(scope="module")
def scored(first: object, place: Path, python: str) -> "subprocess.CompletedProcess[str]":
    """Score other questions with the champion by the real DAG, on the same home."""
    write_sample(place / "week.csv", rows=700, seed=2)
    home = place / "my state"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "MAKE"))}
    environment |= {
        "SINCERE_HOME": str(home),
        "ML_PYTHON": python,
        "SINCERE_QUESTIONS": str(place / "week.csv"),
        "SINCERE_CONFIG": str(place / "tiny.toml"),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    conf = json.dumps({"output": str(place / "scored.csv")})
    return subprocess.run(
        [os.environ["FORKED_AIRFLOW"], "dags", "test", "score_questions", "--conf", conf],
        cwd=PROJECT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_champion_scores_questions_by_its_own_dag(scored: "subprocess.CompletedProcess[str]", place: Path) -> None:
    assert scored.returncode == 0, scored.stdout + scored.stderr
    assert "champion v1 scores file:week.csv, a CSV file" in scored.stdout
    with (place / "week.csv").open(newline="", encoding="utf-8") as file:
        asked = list(csv.DictReader(file))
    with (place / "scored.csv").open(newline="", encoding="utf-8") as file:
        answered = list(csv.DictReader(file))
    assert [row["qid"] for row in answered] == [row["qid"] for row in asked]
    assert {row["label"] for row in answered} <= {"0", "1"}
    assert all(0 <= float(row["probability"]) <= 1 for row in answered)


@pytest.mark.usefixtures("scored")
def test_a_scoring_leaves_reports_of_its_own(place: Path) -> None:
    (folder,) = (place / "my state" / "reports").glob("score_questions.manual__*")
    assert {"verdict.txt", "scoring.html", "data_docs_scores"} <= {path.name for path in folder.iterdir()}
    assert "v1 scored 700 questions of file:week.csv" in (folder / "verdict.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def stopped(first: object, again: Retrain, place: Path) -> "subprocess.CompletedProcess[str]":
    """Retrain on a CSV in which far too many questions are labelled insincere."""
    lines = (place / "Jane's new questions.csv").read_text(encoding="utf-8").splitlines()
    odd = [line.rsplit(",", 1)[0] + f",{number % 2}" for number, line in enumerate(lines[1:])]
    (place / "odd.csv").write_text("\n".join([lines[0], *odd, ""]), encoding="utf-8")
    return again(place / "odd.csv")


def test_a_critical_expectation_stops_the_run_and_says_what_where_and_what_to_do(
    stopped: "subprocess.CompletedProcess[str]", place: Path
) -> None:
    assert stopped.returncode != 0
    for expected in ("label_balance", "observed", "required", "what to do: "):
        assert expected in stopped.stdout
    data_docs = re.search(r"\S.*/data_docs/index\.html", stopped.stdout)
    assert data_docs
    assert "Traceback" not in stopped.stdout + stopped.stderr


@pytest.mark.usefixtures("second", "stopped")
def test_the_log_of_a_task_that_failed_ends_with_why(place: Path) -> None:
    log = "\n".join(_logs(place, 2)["validate"])
    assert "label_balance" in log
    assert log.endswith("step validate stopped with status 65: the lines above say why")


@pytest.mark.usefixtures("second", "stopped")
def test_note_and_grid_tell_the_runs_apart(place: Path) -> None:
    with sqlite3.connect(place / "my state" / "airflow" / "airflow.db") as database:
        ours = "select id from dag_run where dag_id = 'retrain_quora'"
        noted = f"select content from dag_run_note where dag_run_id in ({ours}) order by dag_run_id"
        notes = database.execute(noted).fetchall()
        asked = "select task_id, state from task_instance where state != 'skipped' order by run_id, task_id"
        ends = [row for row in database.execute(asked).fetchall() if row[0] in (*ENDED, *FAILED)]
    assert [note.partition(": ")[0] for (note,) in notes] == ["**Promoted**", "**Unchanged**", "**Rejected**"]
    assert ends == [("promoted", "success"), ("unchanged", "success"), ("rejected", "failed")]


@pytest.mark.usefixtures("second", "stopped")
def test_a_stopped_run_leaves_the_champion_alone(place: Path) -> None:
    registry = place / "my state" / "registry"
    assert json.loads((registry / "aliases.json").read_text(encoding="utf-8"))["versions"]["production"] == "v1"
    history = (registry / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(entry)["verdict"] for entry in history] == ["promote", "unchanged"]


@pytest.mark.usefixtures("second", "stopped")
def test_people_are_told_once_of_each_runs_end(team: Webhook) -> None:
    assert team.titles == [
        "Promoted: v1 is the champion now (before: none)",
        "Unchanged: nothing was trained, and champion v1 stays",
        "Rejected: the step validate refused the data",
    ]
    assert [len(each["message"].split("\n")) for each in team.posted] == [4, 4, 4]
    page = r"Where: http://localhost:8080/dags/retrain_quora/runs/manual__[^/]+/plugin/report"
    assert all(re.fullmatch(page, each["message"].split("\n")[-1]) for each in team.posted)


@pytest.mark.usefixtures("stopped")
def test_no_notice_has_a_row(team: Webhook, place: Path) -> None:
    told = json.dumps(team.posted, ensure_ascii=False)
    with (place / "odd.csv").open(newline="", encoding="utf-8") as questions:
        assert [
            row["qid"] for row in csv.DictReader(questions) if row["qid"] in told or row["question_text"] in told
        ] == []


def test_wandb_shows_the_steps_of_a_run_together_with_airflows_page(runs: dict[str, Run], server: WandbServer) -> None:
    assert list(runs) == ["snapshot", "validate", "split", "train", "evaluate", "decide", "promote"]
    assert {run.exit_code for run in runs.values()} == {0}
    page = re.compile(r"http://localhost:8080/dags/retrain_quora/runs/manual__[^/]+")
    assert all(page.fullmatch(run.settings["run"]["url"]) for run in runs.values())
    assert server.unknown == []


def test_wandb_shows_where_a_decision_comes_from(runs: dict[str, Run], server: WandbServer) -> None:
    def named(artifacts: list[str]) -> set[str]:
        names = {server.state.artifacts[artifact].place.name for artifact in artifacts}
        return {name for name in names if not name.startswith("run-")}  # tables that belong to one run only

    lineage = {job: (named(run.used), named(run.logged)) for job, run in runs.items()}
    assert lineage == {
        "snapshot": (set(), {"questions"}),
        "validate": ({"questions"}, {"validation"}),
        "split": ({"questions", "validation"}, {"splits"}),
        "train": ({"splits"}, {"insincere-questions"}),
        "evaluate": ({"splits", "insincere-questions"}, {"evaluation"}),
        "decide": ({"evaluation", "insincere-questions"}, {"decision"}),
        "promote": ({"evaluation", "insincere-questions", "decision"}, {"promotion"}),
    }
    assert all(len(server.state.collection(name, "sincere").versions) == 1 for name in lineage["promote"][0])


def test_wandb_shows_how_training_went(runs: dict[str, Run]) -> None:
    figures = {name for row in runs["train"].history for name in row}
    assert {"train/loss", "train/learning_rate", "train/examples_per_second", "validation/average_precision"} <= figures
    assert [row["_step"] for row in runs["train"].history] == [1, 21, 37]
    assert runs["train"].streams["wandb-events.jsonl"]


def test_wandb_shows_how_good_a_model_is_without_a_question(
    runs: dict[str, Run], server: WandbServer, place: Path
) -> None:
    evaluation = server.state.version("evaluation", "latest", "sincere")
    assert set(evaluation.files) == {
        "comparison.json",
        "confusion_candidate.svg",
        "precision_recall.svg",
        *(f"{table}.table.json" for table in ("confusion", "figures", "precision_recall", "slices")),
    }
    model = server.state.version("insincere-questions", "latest", "sincere")
    assert {"model.json", "saved_model/saved_model.pb"} <= set(model.files)
    assert "decision threshold" in model.description
    kept = b"".join(server.state.blobs.values()) + str(runs).encode()
    with (place / "Jane's new questions.csv").open(newline="", encoding="utf-8") as questions:
        texts = [row["question_text"] for row in csv.DictReader(questions)][:50]
    assert [text for text in texts if text.encode() in kept] == []


@pytest.mark.usefixtures("runs")
def test_a_promotion_has_a_report_in_wandb(server: WandbServer) -> None:
    (report,) = server.state.reports.values()
    assert report["displayName"].startswith("Promotion of v1 by manual__")


def test_the_key_is_nowhere_to_be_read(
    first: "subprocess.CompletedProcess[str]", place: Path, server: WandbServer, command_lines: list[str]
) -> None:
    secrets = (server.key, SECRET, PASSWORD)
    assert any("-m ml train" in line for line in command_lines)
    assert not [line for line in command_lines if any(secret in line for secret in secrets)]
    assert not [secret for secret in secrets if secret in first.stdout + first.stderr]
    files = {str(path.relative_to(place)): _content(path) for path in (place / "my state").rglob("*") if path.is_file()}
    assert files["my state/airflow/airflow.db"].startswith(b"SQLite format 3")
    assert [name for name, content in files.items() for secret in secrets if secret.encode() in content] == []
    assert server.key.encode() not in b"".join(server.state.blobs.values()) + str(server.state.runs).encode()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # the database has a temporary file beside it
        return b""


@pytest.mark.parametrize("misspelt", ["source=x.csv", "Source=x.csv", "SOURCES=x.csv", "force=1"])
def test_a_misspelt_name_is_refused_before_any_work(misspelt: str) -> None:
    command = ["make", "--assume-old=.venv/installed-all", "retrain", misspelt]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    ended = subprocess.run(command, cwd=PROJECT, env=environment, check=False, capture_output=True, text=True)
    name = misspelt.partition("=")[0]
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"make retrain does not know {name}: it knows SOURCE, CONFIG, FORCE and DRY_RUN" in ended.stderr
