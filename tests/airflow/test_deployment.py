"""The deployment: all services of Airflow share one set of settings, no file holds a secret, the locks agree."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.production import SECRETS, compose_services

PROJECT = Path(__file__).parents[2]
COMPOSE_TEXT = (PROJECT / "docker-compose.yaml").read_text(encoding="utf-8")
AGREED = {
    "AIRFLOW__API_AUTH__JWT_SECRET": SECRETS["AIRFLOW_JWT_SECRET"],
    "AIRFLOW__API_AUTH__JWT_ISSUER": "sincere",
    "AIRFLOW__API__SECRET_KEY": SECRETS["AIRFLOW_SECRET_KEY"],
    "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://api-server:8080/execution/",
    "AIRFLOW__CORE__FERNET_KEY": SECRETS["AIRFLOW_FERNET_KEY"],
    "SINCERE_SOURCE": "s3://bucket/train.csv",
    "SINCERE_CONFIG": "",
    "SINCERE_SOURCES": "sample:,kaggle://,s3://,gs://",
    "SINCERE_QUESTIONS": "s3://bucket/questions.parquet",
    "SINCERE_SCORE_OUTPUT": "",
    "SINCERE_SCORE_OUTPUTS": "",
    "SINCERE_SCORE_SCHEDULE": "",
    "SINCERE_NOTIFY": "all=apprise_default",
    "SINCERE_LATE_HOURS": "",
    "AIRFLOW__API__BASE_URL": "http://localhost:8080",
}
SECRET_VARIABLES = re.compile("KEY|TOKEN|SECRET|PASSWORD|_CONN_|CREDENTIALS")
MORE_PARTS = {"worker-gpu": ["gpu"], "flower": ["flower"], "prometheus": ["metrics"], "grafana": ["metrics"]}
AIRFLOW_PARTS = ["init", "api-server", "scheduler", "dag-processor", "triggerer", "worker", "worker-gpu"]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """As Compose reads them: anchors and variables replaced."""
    given = {
        "SINCERE_SOURCE": "s3://bucket/train.csv",
        "SINCERE_QUESTIONS": "s3://bucket/questions.parquet",
        "SINCERE_NOTIFY": "all=apprise_default",
    }
    return compose_services({**SECRETS, **given})


def test_every_part_of_the_production_shape_is_there(services: dict[str, Any]) -> None:
    assert sorted(services) == sorted({"postgres", "redis", *AIRFLOW_PARTS, *MORE_PARTS})


def test_a_gpu_and_what_shows_figures_are_there_only_for_those_who_ask(services: dict[str, Any]) -> None:
    assert {name: service["profiles"] for name, service in services.items() if "profiles" in service} == MORE_PARTS


def test_each_image_is_built_in_one_place(services: dict[str, Any]) -> None:
    assert {name: services[name]["image"] for name in services if "build" in services[name]} == {
        "api-server": "sincere-airflow",
        "worker": "sincere-ml",
        "worker-gpu": "sincere-ml-cuda",
    }


def test_every_part_that_stays_says_how_it_is_and_has_a_limit_of_memory_and_processes(services: dict[str, Any]) -> None:
    stays = {name: service for name, service in services.items() if name != "init"}
    assert [name for name in stays if not {"healthcheck", "mem_limit", "pids_limit"} <= stays[name].keys()] == []
    assert [name for name in services if "no-new-privileges:true" not in services[name]["security_opt"]] == []


def test_the_database_is_healthy_once_it_answers_over_the_network(services: dict[str, Any]) -> None:
    assert services["postgres"]["healthcheck"]["test"] == ["CMD", "pg_isready", "-h", "127.0.0.1", "-U", "airflow"]


@pytest.mark.parametrize(("told", "address"), [({}, "127.0.0.1"), ({"UI_ADDRESS": "0.0.0.0"}, "0.0.0.0")])
def test_pages_are_offered_to_this_machine_alone_unless_somebody_says_otherwise(
    told: dict[str, str], address: str
) -> None:
    offered = {name: each["ports"] for name, each in compose_services({**SECRETS, **told}).items() if "ports" in each}
    assert offered == {
        "api-server": [f"{address}:8080:8080"],
        "flower": [f"{address}:5555:5555"],
        "grafana": [f"{address}:3000:3000"],
    }


@pytest.mark.parametrize("name", list(AGREED))
def test_all_parts_of_airflow_share_what_they_must_agree_on(services: dict[str, Any], name: str) -> None:
    values = [services[part]["environment"].get(name) for part in AIRFLOW_PARTS]
    assert values == [AGREED[name]] * len(AIRFLOW_PARTS)


@pytest.mark.parametrize(
    "name",
    ["POSTGRES_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET", "AIRFLOW_SECRET_KEY", "AIRFLOW_ADMIN_PASSWORD"],
)
def test_a_secret_must_be_given_and_has_no_default(name: str) -> None:
    assert f"${{{name}:?" in COMPOSE_TEXT
    assert f"${{{name}:-" not in COMPOSE_TEXT


def test_only_workers_are_given_what_steps_need_to_reach_others(services: dict[str, Any]) -> None:
    handed_on = {"KAGGLE_API_TOKEN", "AIRFLOW_CONN_KAGGLE_DEFAULT", "TFHUB_CACHE_DIR"}
    assert _parts_with(services, handed_on) == ["worker", "worker-gpu"]
    worker = services["worker"]["environment"]
    own = {name for name in worker if SECRET_VARIABLES.search(name)} - services["scheduler"]["environment"].keys()
    assert {name: worker[name] for name in own} == dict.fromkeys(own)  # passed on, never written down


def test_who_reads_registry_and_store_can_reach_them(services: dict[str, Any]) -> None:
    handed_on = {
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "GOOGLE_APPLICATION_CREDENTIALS"),
        *("AIRFLOW_CONN_AWS_DEFAULT", "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", "STORAGE_EMULATOR_HOST"),
        "WANDB_API_KEY",
        "WANDB_BASE_URL",
        "AIRFLOW_CONN_WANDB_DEFAULT",
        "HTTPS_PROXY",
        "https_proxy",
        "NO_PROXY",
    }
    assert _parts_with(services, handed_on) == ["api-server", "worker", "worker-gpu"]


def _parts_with(services: dict[str, Any], handed_on: set[str]) -> list[str]:
    """Return the services that have all of these variables; no other has any."""
    with_all = [name for name, service in services.items() if handed_on <= service.get("environment", {}).keys()]
    assert with_all == [name for name, service in services.items() if handed_on & service.get("environment", {}).keys()]
    return with_all


def test_tabs_are_hidden_where_a_dag_is_of_another_kind(services: dict[str, Any]) -> None:
    from airflow.api_fastapi.common.types import Theme
    from retraining.plugin import RetrainingPlugin

    theme = services["api-server"]["environment"]["AIRFLOW__API__THEME"]
    assert f"\nexport AIRFLOW__API__THEME := {theme}\n" in (PROJECT / "Makefile").read_text(encoding="utf-8")
    selectors = " ".join(Theme.model_validate_json(theme).globalCss)
    tabs = [view["url_route"] for view in RetrainingPlugin.external_views if view["destination"] != "nav"]
    assert [tab for tab in tabs if f"a[href*='/plugin/{tab}']" not in selectors] == []


def test_those_who_tell_have_the_channel(services: dict[str, Any]) -> None:
    name = "AIRFLOW_CONN_APPRISE_DEFAULT"
    given = {part: services[part]["environment"].get(name, "nothing") for part in AIRFLOW_PARTS}
    given = {part: value for part, value in given.items() if value != "nothing"}
    assert given == dict.fromkeys(["dag-processor", "worker", "worker-gpu"])  # passed on, never written down


def test_a_worker_is_given_time_to_end_its_steps(services: dict[str, Any]) -> None:
    with_time = {
        name: service["stop_grace_period"] for name, service in services.items() if "stop_grace_period" in service
    }
    assert with_time == {"postgres": "1m", "worker": "10m", "worker-gpu": "10m"}
    told = {name for name, service in services.items() if service.get("init")}
    assert told == {name for name in services if "TINI_KILL_PROCESS_GROUP" in services[name].get("environment", {})}
    assert told == {"worker", "worker-gpu"}


def test_who_runs_tasks_starts_after_the_api_server_and_stops_before_it(services: dict[str, Any]) -> None:
    parts = ["scheduler", "worker", "worker-gpu"]
    after = {part: services[part]["depends_on"]["api-server"]["condition"] for part in parts}
    assert after == dict.fromkeys(parts, "service_healthy")


@pytest.mark.parametrize(
    ("gpu_worker", "queues"), [("", "default,gpu"), ("getent() { return 0; }", "default"), ("QUEUES=gpu", "gpu")]
)
def test_the_worker_takes_trainings_where_nobody_else_does(gpu_worker: str, queues: str) -> None:
    told = {"QUEUES": "gpu"} if "QUEUES" in gpu_worker else {}
    *bash, script = compose_services({**SECRETS, **told})["worker"]["command"]
    here = 'sleep() { :; }; timeout() { shift; "$@"; }; getent() { return 2; }; exec() { printf \'%s\n\' "$*"; };'
    done = subprocess.run([*bash, f"{here} {gpu_worker}\n{script}"], capture_output=True, text=True, check=True)
    assert done.stdout == f"airflow celery worker --queues {queues} --concurrency 2\n"


def test_variables_of_further_models_reach_all_parts_of_airflow(services: dict[str, Any]) -> None:
    others = {"path": "sincere.env", "required": False}
    assert [part for part in AIRFLOW_PARTS if services[part]["env_file"] != [others]] == []


def test_the_files_of_the_figures_are_there(services: dict[str, Any]) -> None:
    mounts = [mount.split(":")[0] for name in ("prometheus", "grafana") for mount in services[name]["volumes"]]
    assert [mount for mount in mounts if mount.startswith(".") and not (PROJECT / mount).exists()] == []


def test_only_the_gpu_worker_has_the_gpu_queue_by_name_and_the_device(services: dict[str, Any]) -> None:
    gpu_queue = [name for name, service in services.items() if "gpu" in service.get("command", [])]
    gpu_device = [name for name, service in services.items() if "deploy" in service]
    assert (gpu_queue, gpu_device) == (["worker-gpu"], ["worker-gpu"])


def test_the_image_copies_only_what_is_there() -> None:
    dockerfile = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.M) for name in line.split()}
    assert {name for name in copied if not (PROJECT / name).exists()} == set()


def test_both_images_have_the_library_whose_settings_the_dag_reads() -> None:
    stages = (PROJECT / "Dockerfile").read_text(encoding="utf-8").split("FROM base AS ")[1:]
    assert [stage.split()[0] for stage in stages if "\nCOPY ml ml\n" in stage] == ["airflow", "ml"]


@pytest.mark.parametrize("lock", ["airflow", "dev", "cuda"])
def test_the_locks_agree_with_the_one_that_has_everything(lock: str) -> None:
    everything, other = _pins("all"), _pins(lock)
    assert {name: pins for name, pins in other.items() if name in everything and pins != everything[name]} == {}


@pytest.mark.parametrize("lock", ["all", "airflow", "dev", "cuda", "audit"])
def test_a_lock_has_hashes_and_no_download_address(lock: str) -> None:
    text = (PROJECT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    requirements = re.split(r"\n(?=\S)", text.replace("\\\n", " ").strip())
    pinned = re.compile(r"[a-z0-9._-]+(\[[a-z0-9,._-]+\])?==\S+( ;[^#]*?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*")
    assert len(requirements) > 50
    assert [line[:60] for line in requirements if not pinned.fullmatch(line)] == []
    assert "://" not in text


@pytest.mark.parametrize("lock", ["all", "airflow", "dev", "cuda"])
def test_no_lock_brings_pytorch(lock: str) -> None:
    assert _pins(lock).keys() & {"torch", "sentence-transformers"} == set()


def _pins(lock: str) -> dict[str, list[str]]:
    """Map each package to its pinned versions; there are several if they depend on Python version or platform."""
    pins: dict[str, list[str]] = {}
    for line in (PROJECT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"([a-z0-9._-]+)==(\S+)", line):
            pins.setdefault(found[1], []).append(found[2])
    return pins
