"""Imports: parsing the DAG folder loads no heavy module, and the records import nothing with side effects."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

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

_PARSE_DAGS = """
import json, runpy, sys
from pathlib import Path
sys.path.insert(0, "plugins")
for path in sorted(Path("dags").glob("*.py")):
    runpy.run_path(str(path))
print(json.dumps(sorted(sys.modules)))
"""

_LOAD_PLUGINS = """
import json, sys
from airflow import plugins_manager
views = [view["name"] for view in plugins_manager._get_ui_plugins()[0]]
pages = [name for name in sys.modules if name.startswith("retraining.pages.") or name in ("web_app", "charts")]
print(json.dumps([views, pages, [name for name in ("pygal", "tensorflow", "pandas") if name in sys.modules]]))
"""


@pytest.fixture(scope="module")
def modules() -> list[str]:
    """List the modules that a fresh interpreter has loaded after it has parsed the DAG folder."""
    command = [sys.executable, "-W", "error", "-c", _PARSE_DAGS]
    done = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_parsing_the_dag_folder_imports_nothing_heavy(modules: list[str]) -> None:
    assert [module for module in HEAVY if module in modules] == []


def test_parsing_the_dag_folder_imports_of_the_library_its_settings_alone(modules: list[str]) -> None:
    assert {module for module in modules if module.split(".")[0] == "ml"} == SETTINGS


def test_no_part_of_airflow_but_the_api_server_imports_a_page(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
    }
    command = [sys.executable, "-c", _LOAD_PLUGINS]
    done = subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True, text=True)
    views, pages, heavy = json.loads(done.stdout.splitlines()[-1])
    assert (views, pages, heavy) == (["Models", "Promotions", "Data quality", "Report"], [], [])


def test_serving_pages_imports_nothing_heavy(tmp_path: Path) -> None:
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT / "plugins")}
    code = "import json, sys; import retraining.pages.web_app; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True, text=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert [module for module in (*HEAVY, "tqdm") if module in loaded] == []


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

_LOAD_A_COMMAND = """
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
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("command", USED)
def test_a_command_loads_nothing_slow_that_it_does_not_use(command: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    environment["SINCERE_HOME"] = str(tmp_path)
    program = [sys.executable, "-W", "ignore", "-c", _LOAD_A_COMMAND, command]
    done = subprocess.run(program, cwd=PROJECT, env=environment, check=True, capture_output=True, text=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert {module for module in SLOW if module in loaded} <= USED[command]


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_import_the_standard_library_pydantic_and_each_other_only(name: str) -> None:
    imported = set(_imports(PROJECT / "ml" / f"{name}.py"))
    beyond = {module for module in imported if module.split(".")[0] not in sys.stdlib_module_names}
    assert beyond - {"pydantic", "pydantic.dataclasses", *PURE.values()} == set()


def _imports(path: Path) -> list[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return plain + [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
