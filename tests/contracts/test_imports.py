"""Imports: parsing the DAG folder loads no heavy module, and the records import nothing with side effects."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PURE = {
    "records": "ml.records",
    "config/__init__": "ml.config",
    "config/freeze": "ml.config.freeze",
    "config/slices": "ml.config.slices",
    "errors": "ml.errors",
    "judge/policy": "ml.judge.policy",
    "judge/approval": "ml.judge.approval",
}
HEAVY = ("tensorflow", "tf_keras", "official", "great_expectations", "wandb", "sklearn", "pandas", "matplotlib")
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


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_import_the_standard_library_pydantic_and_each_other_only(name: str) -> None:
    imported = set(_imports(PROJECT / "ml" / f"{name}.py"))
    beyond = {module for module in imported if module.split(".")[0] not in sys.stdlib_module_names}
    assert beyond - {"pydantic", "pydantic.dataclasses", *PURE.values()} == set()


def _imports(path: Path) -> list[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return plain + [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
