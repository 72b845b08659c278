"""Imports: parsing the DAG folder loads no heavy module, and the records import nothing with side effects."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
PURE = {
    "records/__init__": "ml.records",
    **{f"records/{path.stem}": f"ml.records.{path.stem}" for path in PROJECT.glob("ml/records/[!_]*.py")},
    "config/__init__": "ml.config",
    "config/freeze": "ml.config.freeze",
    "config/slices": "ml.config.slices",
    "errors": "ml.errors",
    "judge/policy/__init__": "ml.judge.policy",
    **{f"judge/policy/{part}": f"ml.judge.policy.{part}" for part in ("checks", "costs", "gains", "guards", "leave")},
    "judge/approval": "ml.judge.approval",
}
CLIENTS = ("s3fs", "gcsfs", "aiobotocore")  # of object stores
HEAVY = (
    "tensorflow",
    "tf_keras",
    "official",
    "great_expectations",
    "wandb",
    "sklearn",
    "pandas",
    "matplotlib",
    *CLIENTS,
)
SETTINGS = {
    *("ml", "ml.errors", "ml.config", "ml.config.environment", "ml.config.freeze", "ml.config.load"),
    *("ml.config.settings_reference", "ml.config.slices"),
}

_PARTS_OF_AIRFLOW = """
import json, runpy, sys, warnings
from pathlib import Path
sys.path.insert(0, "plugins")
for path in sorted(Path("dags").glob("*.py")):
    runpy.run_path(str(path))
print(json.dumps(sorted(sys.modules)))

warnings.resetwarnings()
from airflow import plugins_manager
views = [view["name"] for view in plugins_manager._get_ui_plugins()[0]]
print(json.dumps([views, sorted(sys.modules)]))

import retraining.pages.web_app
print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What a fresh interpreter has loaded after it has parsed the DAG folder, then the plugins, then the pages."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
    }
    command = [sys.executable, "-W", "error", "-c", _PARTS_OF_AIRFLOW]
    done = subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def test_parsing_the_dag_folder_imports_nothing_heavy(told: list[Any]) -> None:
    assert [module for module in HEAVY if module in told[0]] == []


def test_parsing_the_dag_folder_imports_of_the_library_its_settings_alone(told: list[Any]) -> None:
    assert {module for module in told[0] if module.split(".")[0] == "ml"} == SETTINGS


def test_no_part_of_airflow_but_the_api_server_imports_a_page(told: list[Any]) -> None:
    views, modules = told[1]
    pages = [name for name in modules if name.startswith("retraining.pages.") or name in ("web_app", "charts")]
    assert (views, pages) == (["Models", "Promotions", "Data quality", "Report"], [])
    assert [module for module in ("pygal", "tensorflow", "pandas") if module in modules] == []


def test_serving_pages_imports_nothing_heavy(told: list[Any]) -> None:
    assert "retraining.pages.web_app" in told[2]
    assert [module for module in (*HEAVY, "tqdm") if module in told[2]] == []


# What is slow to import, and who uses it. `python -m benchmarks imports` shows what the others cost.
USED = {
    "--help": set(),
    "history": set(),
    "verdict": set(),
    "snapshot": {"pyarrow", "requests"},
    "detect": set(),
    "promote": set(),
    "probe": {"pandas", "pyarrow"},
    "train": {"tensorflow", "tf_keras", "official", "pandas", "pyarrow", "scipy", "requests"},
}
SLOW = (*HEAVY, "keras", "tensorflow_datasets", "scipy", "pyarrow", "requests")

# The commands of one process stand so that each may have what those before it may.
TOGETHER = ("--help", "history", "verdict", "detect", "promote", "probe", "train"), ("snapshot",)

_LOAD_COMMANDS = """
import json, sys
from importlib import import_module
from ml.cli import main, process
from ml.steps import STEPS
process.prepare_process()
for step in sys.argv[1:]:
    if step in STEPS:
        import_module(STEPS[step].function.partition(":")[0])
    else:
        sys.stdout = sys.stderr
        try:
            main([step])
        except SystemExit:
            pass
        sys.stdout = sys.__stdout__
    print(json.dumps([step, sorted(sys.modules)]))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The modules that each command has loaded."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    environment["SINCERE_HOME"] = str(tmp_path_factory.mktemp("home"))
    lines = []
    for commands in TOGETHER:
        program = [sys.executable, "-W", "ignore", "-c", _LOAD_COMMANDS, *commands]
        done = subprocess.run(program, cwd=PROJECT, env=environment, check=True, capture_output=True, text=True)
        lines += done.stdout.splitlines()
    return dict(json.loads(line) for line in lines if line.startswith("["))


@pytest.mark.parametrize("command", USED)
def test_a_command_loads_nothing_slow_that_it_does_not_use(command: str, loaded: dict[str, list[str]]) -> None:
    assert {module for module in SLOW if module in loaded[command]} <= USED[command]


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_import_the_standard_library_pydantic_and_each_other_only(name: str) -> None:
    imported = set(_imports(PROJECT / "ml" / f"{name}.py"))
    beyond = {module for module in imported if module.split(".")[0] not in sys.stdlib_module_names}
    assert beyond - {"pydantic", "pydantic.dataclasses", *PURE.values()} == set()


def _imports(path: Path) -> list[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return plain + [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
