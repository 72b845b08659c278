"""Measure what each command imports before its own work begins: processor seconds, and which heavy packages."""

import json
import os
import subprocess
from statistics import median

from benchmarks.processes import PROJECT, python
from ml.steps import OTHER_STEPS, STEPS

ROUNDS = 3
# Of these a process that does not use one should load none.
HEAVY = (
    *("tensorflow", "tensorflow_text", "tf_keras", "keras", "official", "tensorflow_hub", "tensorflow_datasets"),
    *("great_expectations", "pandas", "sklearn", "scipy", "matplotlib", "wandb", "pyarrow", "requests"),
)
# As the command line does it: its own modules first, then that of the step.
LOAD = """
import json, resource, sys
from importlib import import_module
from ml.cli import process
process.prepare_process()
for module in sys.argv[1:]:
    import_module(module)
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([used.ru_utime + used.ru_stime, sorted(sys.modules)]))
"""


def measure() -> list[dict[str, object]]:
    """Import what each command imports in a fresh interpreter, three times."""
    commands = {name: [step.function.partition(":")[0]] for name, step in (STEPS | OTHER_STEPS).items()}
    commands = {"--help, verdict, history": ["ml.report.words.verdict", "ml.report.history_table"], **commands}
    return [_row(command, modules) for command, modules in commands.items()]


def _row(command: str, modules: list[str]) -> dict[str, object]:
    seconds, loaded = zip(*(_load(modules) for _ in range(ROUNDS)), strict=True)
    return {
        "command": command,
        "processor_seconds": f"{median(seconds):.2f}",
        "modules": len(loaded[0]),
        "packages": ", ".join(name for name in HEAVY if name in loaded[0]) or "none",
    }


def _load(modules: list[str]) -> tuple[float, list[str]]:
    command = [*python("-c", LOAD), *modules]
    done = subprocess.run(command, cwd=PROJECT, env=dict(os.environ), check=True, capture_output=True, text=True)
    seconds, loaded = json.loads(done.stdout)
    return seconds, loaded
