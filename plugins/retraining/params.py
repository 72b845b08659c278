"""What a person can set when triggering the DAG, and how it becomes overrides of the config.

Bounds and descriptions are those of the settings in ml/config; they are read when the form is made.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

_SETTINGS = {
    "source": "source.uri",
    "train_fraction": "split.train",
    "validation_fraction": "split.validation",
    "test_fraction": "split.test",
    "epochs": "train.epochs",
    "learning_rate": "train.learning_rate",
    "batch_size": "train.batch_size",
    "warm_start": "train.warm_start",
}
_FLAGS = {"dry_run": "--dry-run", "force": "--force"}


def retraining_params() -> dict[str, Param]:
    """The DAG's Params; an empty one leaves the setting as the config preset has it."""
    from ml.config.reference import preset_names, setting_schemas

    schemas = setting_schemas()
    settings = {name: _optional(name, schemas[setting]) for name, setting in _SETTINGS.items()}
    config = Param(
        "local",
        type="string",
        minLength=1,
        title="Config",
        description="A preset or a .toml file with the settings that differ.",
        examples=preset_names(),
    )
    switches = {
        "dry_run": _switch("Dry run", "Everything up to the verdict, and not one write to the registry."),
        "force": _switch(
            "Force",
            "Train even if CSV, settings and code are those of the champion's run; promote even in the cool-down, or"
            " what was rolled back from before.",
        ),
    }
    return {"source": settings.pop("source"), "config": config, **settings, **switches}


def run_flags(params: Mapping[str, Any]) -> list[str]:
    """The flags of `python -m ml STEP` for the switches that are on."""
    return [flag for name, flag in _FLAGS.items() if params.get(name)]


def rollback_params() -> dict[str, Param]:
    """Where to roll back to, and why."""
    version = {"type": "string", "description": "As the history lists it. Empty: the champion's predecessor."}
    return {
        "version": _optional("version", version),
        "reason": Param(
            "",
            type="string",
            minLength=1,
            maxLength=500,
            title="Reason",
            description="Stands in the registry's history, for those who ask later.",
        ),
    }


def config_overrides(params: Mapping[str, Any]) -> list[str]:
    """A line of TOML for each Param that was filled in; a value's JSON is TOML too."""
    return [
        f"{setting} = {json.dumps(params[name], ensure_ascii=False)}"
        for name, setting in _SETTINGS.items()
        if params.get(name) is not None
    ]


def trigger(dag_run: Any) -> str:
    """Who or what started the run, for the record."""
    kind = f"Airflow, {dag_run.run_type.value} run"
    return f"{kind} by {dag_run.triggering_user_name}" if dag_run.triggering_user_name else kind


def run_url(task_instance: Any) -> str:
    """Where Airflow's UI shows the run of a task."""
    return str(task_instance.log_url).partition("/tasks/")[0]


def folder_name(run_id: str) -> str:
    """Airflow's run id with all that has no place in a folder's name replaced by underscores."""
    return re.sub(r"^[.-]|[^A-Za-z0-9_.-]", "_", run_id)


def _optional(name: str, schema: Mapping[str, Any]) -> Param:
    """A field that may stay empty, with the bounds and the description of the setting's JSON schema."""
    bounds = {key: value for key, value in schema.items() if key not in ("type", "default", "title")}
    title = name.replace("_", " ").capitalize()
    return Param(None, type=["null", schema["type"]], title=title, **bounds)


def _switch(title: str, description: str) -> Param:
    return Param(False, type="boolean", title=title, description=description)
