"""What a person can set when triggering the DAG, and how it becomes overrides of the config."""

import json
import re
from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

_CONFIG_KEYS = {
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
    return {
        "source": _optional(
            "string", "Source", "The CSV: a path, https://, kaggle://, s3:// or gs://. Empty: as the preset says."
        ),
        "config": Param(
            "local",
            type="string",
            minLength=1,
            title="Config",
            description="A preset or a .toml file with the settings that differ.",
            examples=["local", "bert-base"],
        ),
        "train_fraction": _fraction("Train fraction", "training"),
        "validation_fraction": _fraction("Validation fraction", "choosing the epoch and the threshold"),
        "test_fraction": _fraction("Test fraction", "judging the candidate against the champion"),
        "epochs": _optional("integer", "Epochs", "Passes over the training rows, at most.", minimum=1, maximum=100),
        "learning_rate": _optional(
            "number", "Learning rate", "Peak of the schedule; 1e-5 to 1e-4 is usual.", minimum=1e-8, maximum=1
        ),
        "batch_size": _optional("integer", "Batch size", "Rows in a training step.", minimum=1, maximum=4096),
        "warm_start": _optional(
            "boolean", "Warm start", "Begin with the champion's weights instead of the pretrained encoder's."
        ),
        "dry_run": _switch("Dry run", "Everything up to the verdict, and not one write to the registry."),
        "force": _switch(
            "Force",
            "Train even if CSV, settings and code are those of the champion's run; promote even in the cool-down, or"
            " what was rolled back from before.",
        ),
    }


def run_flags(params: Mapping[str, Any]) -> list[str]:
    """The flags of `python -m ml STEP` for the switches that are on."""
    return [flag for name, flag in _FLAGS.items() if params.get(name)]


def rollback_params() -> dict[str, Param]:
    """Where to roll back to, and why."""
    return {
        "version": _optional("string", "Version", "As the history lists it. Empty: the champion's predecessor."),
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
        f"{key} = {json.dumps(params[name], ensure_ascii=False)}"
        for name, key in _CONFIG_KEYS.items()
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


def _fraction(title: str, purpose: str) -> Param:
    return _optional("number", title, f"Share of the rows for {purpose}.", minimum=0.0001, maximum=0.999)


def _switch(title: str, description: str) -> Param:
    return Param(False, type="boolean", title=title, description=description)


def _optional(kind: str, title: str, description: str, **bounds: Any) -> Param:
    return Param(None, type=["null", kind], title=title, description=description, **bounds)
