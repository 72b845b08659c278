"""A person is asked in a live Airflow, and answers over its API; the alias moves on an approval alone.

The two tasks run on decisions that were made before, so that nothing is trained here.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from retraining.approval import approvers
from retraining.params import folder_name

from ml.config import PolicyConfig
from ml.judge.approval import judge_with_person
from ml.judge.kept_decisions import keep_decision
from ml.judge.row_scores import Scores, keep_scores
from ml.records import Answer, ApprovalWanted, Comparison, Decision, NoAnswer, NoEvidence, digest, from_json, to_json
from ml.registry import CHAMPION_ALIAS
from ml.registry.local import LocalRegistry
from ml.report.words.verdict import read_verdict
from ml.run import Run
from ml.store import Store
from tests.airflow.notices.servers import PASSWORD as CHANNEL_PASSWORD
from tests.airflow.notices.servers import SECRET, Webhook, connection, webhook
from tests.judge.examples import PAST, compare_next, judged, open_run, probed
from tests.live import ANSWER_SECONDS, QUIET
from tests.production import until

PROJECT = Path(__file__).parents[2]
EPOCH = {"epoch": 1, "loss": 0.2, "binary_accuracy": 0.95, "precision": 0.7, "recall": 0.6}
EPOCH |= {"precision_at_recall_50": 0.7, "average_precision": 0.65}
TARGET = np.array([1, 1, 0, 0, 0])
PASSWORD = "the password of jane"
WAITS = {"ask": 1.0, "ask_late": 0.003}  # hours, by DAG
DAGS = """
import json
from pathlib import Path

from airflow.sdk import Asset, dag, task
from retraining.approval import ApproveOperator
from retraining.dags_test_command import ready_for_test
from retraining.notices.deadline import alert_if_late
from retraining.notices.notifier import ApprovalNotifier
from retraining.operators import PromoteOperator
from retraining.params import retraining_params


def asking(name):
    folder = Path(__file__).parent / name
    decision, probe = (json.loads((folder / f"{each}.json").read_text()) for each in ("d", "p"))

    @task
    def evaluate():
        return json.loads((folder / "c.json").read_text())

    @dag(dag_id=name, schedule=None, params=retraining_params(), is_paused_upon_creation=False)
    def ask():
        comparison = evaluate()
        asked = [comparison, decision, probe]
        approved = ApproveOperator(records=asked, notifiers=[ApprovalNotifier()]).output
        PromoteOperator(champion=Asset("quora_champion"), records=[comparison, approved, probe])

    return ask()


ask, ask_late = asking("ask"), asking("ask_late")
alert_if_late(ask)
alert_if_late(ask_late)
ready_for_test(ask)
"""


@dataclass(frozen=True)
class Airflow:
    """A running `airflow standalone`: its home is also that of the registry."""

    url: str
    home: Path
    environment: dict[str, str]
    token: str = ""

    def call(self, method: str, path: str, **body: Any) -> Any:
        bearer = {"Authorization": f"Bearer {self.token}"}
        response = requests.request(
            method, f"{self.url}{path}", json=body or None, headers=bearer, timeout=ANSWER_SECONDS
        )
        response.raise_for_status()
        return response.json()

    def trigger(self, dag: str, run_id: str) -> None:
        self.call("POST", f"/api/v2/dags/{dag}/dagRuns", dag_run_id=run_id, logical_date=None)

    def states(self, dag: str, run_id: str) -> dict[str, str]:
        tasks = self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {task["task_id"]: task["state"] for task in tasks if task["task_id"] != "evaluate"}

    def is_over(self, dag: str, run_id: str) -> bool:
        """Whether the scheduler has ended the run; what is cleared before that stays as it is."""
        return bool(self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{run_id}")["state"] == "success")

    def wait(self, dag: str, run_id: str, **states: str) -> None:
        def reached() -> bool:
            found = self.states(dag, run_id)
            assert not {"failed", "upstream_failed"} & set(found.values()), found
            return found == states and (None in states.values() or self.is_over(dag, run_id))

        until(reached, seconds=600, what=f"{dag} {run_id}: {states}", logs=self.home)

    def answer(self, dag: str, run_id: str, option: str, reason: str) -> None:
        """Answer as soon as Airflow's scheduler knows that the task waits; one before that is lost."""
        self.wait(dag, run_id, approve="awaiting_input", promote=None)
        seen = f"TaskInstanceKey(dag_id='{dag}', task_id='approve', run_id='{run_id}'"
        until(lambda: seen in self.log(), seconds=600, what="the scheduler", logs=self.home)
        time.sleep(2)
        path = f"/api/v2/dags/{dag}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
        self.call("PATCH", path, chosen_options=[option], params_input={"reason": reason})

    def log(self) -> str:
        lines = (self.home / "standalone.log").read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if "Received executor event" in line)

    def clear(self, dag: str, run_id: str, *tasks: str) -> None:
        what = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, "task_ids": list(tasks)}
        self.call("POST", f"/api/v2/dags/{dag}/clearTaskInstances", **what)

    def verdict(self, run_id: str) -> str:
        return read_verdict(self.home / "reports" / folder_name(run_id))

    @property
    def registry(self) -> LocalRegistry:
        return LocalRegistry(self.home / "registry")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a home with two decisions that wait for a person, and DAGs that ask about them."""
    home = tmp_path_factory.mktemp("asking")
    for name, hours in WAITS.items():
        _write_records(open_run(home), home / "dags" / name, PolicyConfig(approval="always", approval_hours=hours))
    (home / "dags" / "asking.py").write_text(DAGS)
    return home


def _write_records(run: Run, folder: Path, policy: PolicyConfig) -> None:
    comparison = compare_next(run, "a model")
    _store_what_the_report_shows(run.store, comparison)
    (verdict, reason, checks), approval = judge_with_person(comparison, NoEvidence(), policy, PAST)
    decision = replace(judged(comparison), verdict=verdict, reason=reason, checks=checks, approval=approval)
    keep_decision(run.store, decision, policy, NoEvidence(), probed(comparison))
    folder.mkdir(parents=True)
    for name, record in {"c": comparison, "d": decision, "p": probed(comparison)}.items():
        (folder / f"{name}.json").write_text(to_json(record))


def _store_what_the_report_shows(store: Store, comparison: Comparison) -> None:
    rows = pd.DataFrame({"question_text": ["why", "who is", "what", "when", "where"], "target": TARGET})
    with store.staging() as folder:
        rows.to_parquet(folder / "rows.parquet")
        store.commit(folder, "splits", comparison.candidate.test)
    with store.staging() as folder:
        (folder / "training.json").write_text(json.dumps({"epochs": [EPOCH], "layers": {"head": 1}}))
        (folder / "summary.txt").write_text("Total params: 1")
        store.commit(folder, "trainings", comparison.trained.model)
    scores = np.array([0.9, 0.3, 0.6, 0.2, 0.1], np.float32)
    by_model = {"candidate": scores, "baseline": scores}
    keep_scores(store, comparison, Scores(qid=np.array(list("abcde")), target=TARGET, by_model=by_model))


@pytest.fixture(scope="module")
def team() -> Iterator[Webhook]:
    """A webhook that is told everything."""
    with webhook() as team:
        yield team


@pytest.fixture(scope="module")
def airflow(home: Path, team: Webhook, python: str) -> Iterator[Airflow]:
    port, *others = (str(_free_port()) for _ in range(4))
    airflow_home = home / "airflow"
    airflow_home.mkdir()
    (airflow_home / "passwords.json").write_text(json.dumps({"jane": PASSWORD, "john": PASSWORD}))
    url, waiting_for_no_import = f"http://127.0.0.1:{port}", os.environ["FORKED_AIRFLOW"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "MAKE"))} | {
        "PATH": f"{Path(waiting_for_no_import).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{PROJECT}:{PROJECT / 'plugins'}",
        **QUIET,
        "SINCERE_HOME": str(home),
        "ML_PYTHON": python,
        "SINCERE_NOTIFY": "all=team",
        "SINCERE_LATE_HOURS": "0.002",
        "AIRFLOW_CONN_TEAM": connection(team.address),
        "AIRFLOW_HOME": str(airflow_home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "jane:admin,john:admin",
        "SINCERE_APPROVERS": "jane",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(airflow_home / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "120",  # a busy machine
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": others[0],
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": others[1],
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": others[2],
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",  # seconds
        "PYTHONUNBUFFERED": "1",  # what the scheduler says is read while it runs
    }
    with (home / "standalone.log").open("wb") as log:
        process = subprocess.Popen(
            [waiting_for_no_import, "standalone"], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield _started(Airflow(url, home, environment))
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _started(airflow: Airflow) -> Airflow:
    # The first request to a part of the API server takes long on a busy machine, and a task gives up waiting for it.
    until(lambda: _answers(f"{airflow.url}/execution/health/ping"), seconds=600, what="the API", logs=airflow.home)
    ready = replace(airflow, token=until(lambda: _token(airflow), seconds=600, what="the API", logs=airflow.home))

    def dags() -> bool:
        return {dag["dag_id"] for dag in ready.call("GET", "/api/v2/dags")["dags"]} == set(WAITS)

    until(dags, seconds=600, what="the DAGs", logs=airflow.home)
    return ready


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=120).ok
    except requests.RequestException:
        return False


def _token(airflow: Airflow, user: str = "jane") -> str | None:
    who = {"username": user, "password": PASSWORD}
    try:
        response = requests.post(f"{airflow.url}/auth/token", json=who, timeout=ANSWER_SECONDS)
    except requests.ConnectionError:
        return None
    return str(response.json()["access_token"]) if response.ok else None


@pytest.fixture(scope="module")
def late(airflow: Airflow) -> str:
    airflow.trigger("ask_late", "late")
    airflow.wait("ask_late", "late", approve="success", promote="success")
    return "late"


@pytest.fixture(scope="module")
def refused(airflow: Airflow, late: str) -> requests.Response:
    """What an administrator is told who is none of those that may approve."""
    airflow.trigger("ask", "rejected")
    airflow.wait("ask", "rejected", approve="awaiting_input", promote=None)
    answer = {"chosen_options": ["Approve"], "params_input": {"reason": "why not"}}
    path = "/api/v2/dags/ask/dagRuns/rejected/taskInstances/approve/-1/hitlDetails"
    bearer = {"Authorization": f"Bearer {_token(airflow, 'john')}"}
    return requests.patch(f"{airflow.url}{path}", json=answer, headers=bearer, timeout=ANSWER_SECONDS)


@pytest.fixture(scope="module")
def rejected(airflow: Airflow, refused: requests.Response) -> str:
    airflow.answer("ask", "rejected", "Reject", "wrong week")
    airflow.wait("ask", "rejected", approve="success", promote="success")
    return "rejected"


@pytest.fixture(scope="module")
def tested(airflow: Airflow, rejected: str) -> "subprocess.CompletedProcess[str]":
    """Run `airflow dags test` on the same home, at the same time."""
    command = [os.environ["FORKED_AIRFLOW"], "dags", "test", "ask"]
    return subprocess.run(command, env=airflow.environment, check=False, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def approved(airflow: Airflow, tested: object) -> str:
    airflow.trigger("ask", "approved")
    airflow.answer("ask", "approved", "Approve", "looks right")
    airflow.wait("ask", "approved", approve="success", promote="success")
    return "approved"


def test_only_those_who_are_named_may_answer(refused: requests.Response) -> None:
    assert (refused.status_code, "is not a respondent" in refused.text) == (403, True)


@pytest.mark.parametrize(
    ("setting", "users"),
    [("", []), ("anna", [("anna", "anna")]), (" anna, 7:Ben ,", [("anna", "anna"), ("7", "Ben")])],
)
def test_a_setting_names_who_may_answer(setting: str, users: list[tuple[str, str]]) -> None:
    assert [(user["id"], user["name"]) for user in approvers(setting)] == users


def _entry(airflow: Airflow, run_id: str) -> Any:
    (entry,) = [entry for entry in airflow.registry.history() if entry.run_id == folder_name(run_id)]
    return entry


def test_no_answer_in_time_means_that_the_champion_stays(airflow: Airflow, late: str) -> None:
    entry = _entry(airflow, late)
    assert (entry.promoted, entry.verdict, type(entry.approval)) == (False, "blocked", NoAnswer)
    assert "nobody has approved the candidate in time" in airflow.verdict(late).replace("\n", " ")


def test_a_rejection_means_that_the_champion_stays_and_says_who_and_why(airflow: Airflow, rejected: str) -> None:
    entry = _entry(airflow, rejected)
    assert (entry.promoted, entry.approval.by, entry.approval.reason) == (False, "jane", "wrong week")
    assert "jane has rejected the candidate (wrong week)" in airflow.verdict(rejected).replace("\n", " ")


@pytest.mark.parametrize("tasks", [("promote",), ("approve", "promote")], ids=["promote", "both tasks"])
def test_after_a_rejection_what_is_cleared_asks_and_promotes_nobody(
    airflow: Airflow, rejected: str, tasks: tuple[str, ...]
) -> None:
    before = airflow.registry.history()
    airflow.clear("ask", rejected, *tasks)
    airflow.wait("ask", rejected, approve="success", promote="success")
    assert airflow.registry.history() == before


def test_dags_test_says_that_a_person_would_have_been_asked_and_ends(
    airflow: Airflow, tested: "subprocess.CompletedProcess[str]"
) -> None:
    assert tested.returncode == 0, tested.stdout + tested.stderr
    told = tested.stdout + tested.stderr
    assert "a person would have been asked (the setting approval = always), but nobody can answer" in told
    of_test = [entry for entry in airflow.registry.history() if entry.run_id.startswith("manual__")]
    assert [(entry.promoted, entry.verdict, type(entry.approval)) for entry in of_test] == [
        (False, "blocked", ApprovalWanted)
    ]


def test_an_approval_moves_the_alias_and_the_history_has_name_time_and_reason(airflow: Airflow, approved: str) -> None:
    entry = _entry(airflow, approved)
    assert (entry.promoted, entry.version) == (True, airflow.registry.resolve(CHAMPION_ALIAS).version)
    assert isinstance(entry.approval, Answer)
    assert (entry.approval.by, entry.approval.reason) == ("jane", "looks right")
    asked = from_json((airflow.home / "dags" / "ask" / "d.json").read_text(), Decision)
    assert entry.approval.decision == digest(asked) != entry.decision
    assert abs(time.time() - datetime.fromisoformat(entry.approval.time).timestamp()) < 600


def test_a_promotion_by_a_person_tells_those_who_wait_for_a_champion(airflow: Airflow, approved: str) -> None:
    events = airflow.call("GET", "/api/v2/assets/events")["asset_events"]
    assert [(event["source_run_id"], event["extra"]["version"]) for event in events] == [("approved", "v1")]


@pytest.mark.usefixtures("approved")
def test_people_are_told_that_one_is_asked_and_what_came_of_it(airflow: Airflow, team: Webhook) -> None:
    def told() -> list[str]:
        place = "/dags/ask/runs/approved/plugin/report"
        return [each["title"] for each in list(team.posted) if place in each["message"]]

    version = airflow.registry.resolve(CHAMPION_ALIAS).version
    until(
        lambda: len(told()) > 1, seconds=60, what="the second notice", logs=airflow.home
    )  # sent when the task has ended
    assert told() == [
        "Approval wanted: may the candidate become the champion (now: none)?",
        f"Promoted: {version} is the champion now (before: none)",
    ]
    assert sum(title.startswith("Approval wanted") for title in team.titles) == 3  # late, rejected, approved
    assert sum(title.startswith("Promoted") for title in team.titles) == 1


@pytest.mark.usefixtures("approved")
def test_no_log_of_airflow_has_the_address_of_the_channel(airflow: Airflow) -> None:
    logs = {path: path.read_text(errors="replace") for path in airflow.home.rglob("*.log")}
    assert len(logs) > 3
    assert [path for path, text in logs.items() if SECRET in text or CHANNEL_PASSWORD in text] == []


@pytest.mark.usefixtures("approved")
def test_a_run_that_has_not_ended_in_time_is_told_once(airflow: Airflow, team: Webhook) -> None:
    def told() -> list[str]:
        return sorted(title for title in team.titles if title.startswith("Late"))

    until(lambda: len(told()) > 2, seconds=120, what="the notices of late runs", logs=airflow.home)
    assert told() == [
        f"Late: the run {run_id} has not ended by its deadline" for run_id in ("approved", "late", "rejected")
    ]  # the run of `airflow dags test` has no deadline
