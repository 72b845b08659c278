"""The Params, which a person sets when triggering a DAG, and how they become overrides of the config.

Their bounds and descriptions are those of the settings in ml/config; they are read when the form is made.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Param

from retraining import PROJECT
from retraining.model import QUORA, Model
from retraining.source import shown_setting

_SETTINGS = {
    "source": "source.uri",
    "train_fraction": "split.train",
    "validation_fraction": "split.validation",
    "test_fraction": "split.test",
    "epochs": "train.epochs",
    "learning_rate": "train.learning_rate",
    "batch_size": "train.batch_size",
    "warm_start": "train.warm_start",
    "approval": "policy.approval",
}
_SECTIONS = {
    "Data": ("source",),
    "Split": ("train_fraction", "validation_fraction", "test_fraction"),
    "Training": ("epochs", "learning_rate", "batch_size", "warm_start"),
    "Run": ("config", "approval", "dry_run", "force"),
}
_FLAGS = {"dry_run": "--dry-run", "force": "--force"}
RETRAINING = (*_SETTINGS, *_FLAGS, "config")
ROLLBACK = ("version", "reason", "force")
SCORING = ("questions", "output", "config", "dry_run")
CLEANING = ("config", "dry_run")
_LONGEST_NAME = 200


def retraining_params(model: Model = QUORA) -> dict[str, Param]:
    """Return the Params of a DAG that retrains, by section; an empty Param leaves the setting as the config has it."""
    from ml.config.settings_reference import setting_schemas

    schemas, usual = setting_schemas(), _usual(model)
    params = {
        name: _optional(name, schemas[setting], usual=usual.get(setting, "")) for name, setting in _SETTINGS.items()
    }
    params["source"].value = shown_setting("source", model)
    params["config"] = _config(model)
    params["dry_run"] = _switch("Dry run", "Run up to the verdict, and write nothing to the registry.")
    params["force"] = _switch(
        "Force",
        "Train even if CSV, settings and code are those of the champion's run; promote even in the cool-down, or"
        " a version that was rolled back.",
    )
    for section, names in _SECTIONS.items():
        for name in names:
            params[name].schema["section"] = section
    return {name: params[name] for names in _SECTIONS.values() for name in names}


def _usual(model: Model) -> Mapping[str, str]:
    """Say of each setting but the source, which may bear a password, what the schedule's config has."""
    from ml.config.load import load_config
    from ml.errors import SincereError

    name = shown_setting("config", model) or "local"
    try:
        config = load_config(name)
    except (SincereError, OSError):  # the run says so, and the form is for choosing another
        return {}
    settings = [setting.split(".") for setting in _SETTINGS.values() if setting != "source.uri"]
    return {
        f"{section}.{key}": f"Empty: {_shown(getattr(getattr(config, section), key))}, from the config {name}."
        for section, key in settings
    }


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def run_flags(params: Mapping[str, Any]) -> list[str]:
    """Return the flags of `python -m ml STEP` for the switches that are on."""
    return [flag for name, flag in _FLAGS.items() if params.get(name)]


def rollback_params(model: Model = QUORA) -> dict[str, Param]:
    """Return the Params of a rollback: the target version, the reason, and force."""
    choices = _rollback_choices(model)
    proposed = f" Former champions: {'; '.join(choices.values())}." if choices else ""
    version = {
        "type": "string",
        "maxLength": 200,
        "description": f"Any version of the history. Empty: the champion's predecessor.{proposed}",
        **({"examples": [*choices]} if choices else {}),
    }
    reason = Param(
        "",
        type="string",
        minLength=1,
        maxLength=500,
        title="Reason",
        description="The registry's history shows it to those who ask later.",
    )
    force = _switch("Force", "Back to a version, too, that was never promoted: its verdict then stands in the history.")
    return {"version": _optional("version", version), "reason": reason, "force": force}


def _rollback_choices(model: Model) -> dict[str, str]:
    """What the last promotion or rollback left to choose from: words by version. A proposal, which may be stale."""
    from ml.config.environment import home_of

    try:
        home = home_of(model.environment(os.environ), PROJECT)
        kept = json.loads((home / "reports" / "rollback_choices.json").read_text("utf-8"))
        return {str(version): str(words) for version, words in kept.items()}
    except Exception:  # a file that is away, or damaged, must not take the DAG away
        return {}


def scoring_params(model: Model = QUORA) -> dict[str, Param]:
    """Return the Params of a scoring; an empty one leaves what production says."""
    from ml.config.settings_reference import setting_schemas

    schemas = setting_schemas()
    about = "A CSV or Parquet file with a column question_text: a path, https://, s3:// or gs://."
    questions = _optional("questions", {**schemas["source.uri"], "description": about})
    output = _optional("output", schemas["score.output"])
    questions.value, output.value = shown_setting("questions", model), shown_setting("score_output", model)
    dry_run = _switch("Dry run", "Score and watch, and write no scored rows.")
    params = {"questions": questions, "output": output, "config": _config(model), "dry_run": dry_run}
    for name, param in params.items():
        param.schema["section"] = "Data" if name in ("questions", "output") else "Run"
    return params


def cleaning_params(model: Model = QUORA) -> dict[str, Param]:
    """Return the Params of a clean-up."""
    dry_run = _switch("Dry run", "Say what would go, why, and how many bytes, and remove nothing.")
    return {"config": _config(model), "dry_run": dry_run}


def config_overrides(params: Mapping[str, Any]) -> list[str]:
    """Return a line of TOML for each Param that was filled in; the JSON of these values is also TOML."""
    return [
        f"{setting} = {json.dumps(params[name], ensure_ascii=False)}"
        for name, setting in _SETTINGS.items()
        if params.get(name) is not None
    ]


def trigger(dag_run: Any) -> str:
    """Say who or what started the run."""
    kind = f"Airflow, {dag_run.run_type.value} run"
    return f"{kind} by {dag_run.triggering_user_name}" if dag_run.triggering_user_name else kind


def run_url(task_instance: Any) -> str:
    """Return the address in Airflow's UI of the run to which a task belongs."""
    return str(task_instance.log_url).partition("/tasks/")[0]


def folder_name(run_id: str) -> str:
    """Return Airflow's run id as the name of a folder: other characters become underscores, a long one is cut."""
    name = re.sub(r"^[.-]|[^A-Za-z0-9_.-]", "_", run_id)
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 17]}-{hashlib.sha256(run_id.encode()).hexdigest()[:16]}"


def run_name(dag_id: str, run_id: str) -> str:
    """Return the name of a run's reports and scored rows; scheduled runs of two DAGs may bear the same id."""
    return folder_name(f"{dag_id}.{run_id}")


def refuse_unknown(conf: Mapping[str, Any], known: Sequence[str] = RETRAINING) -> None:
    """Raise ConfigError for a key of the run's conf that is no Param."""
    from ml.errors import ConfigError

    for name in sorted(conf.keys() - set(known)):
        raise ConfigError(
            f"unknown key {name[:60]!r}", where="the run's conf", fix=f"known here: {', '.join(sorted(known))}"
        )


def _config(model: Model) -> Param:
    from ml.config.settings_reference import preset_names

    return Param(
        shown_setting("config", model) or "local",
        type="string",
        minLength=1,
        title="Config",
        description="A preset, or a .toml file with the settings that differ.",
        examples=preset_names(),
    )


def _optional(name: str, schema: Mapping[str, Any], usual: str = "") -> Param:
    """Return a Param that may stay empty, with the bounds and the description of the setting's JSON schema."""
    bounds = {key: value for key, value in schema.items() if key not in ("type", "default", "title")}
    within = f"From {schema['minimum']:.15g} to {schema['maximum']:.15g}." if "minimum" in schema else ""
    bounds["description"] = " ".join(filter(None, (schema["description"], within, usual)))
    if "enum" in bounds:
        bounds["enum"] = [None, *bounds["enum"]]
        bounds["values_display"] = {"null": "as the config has it"}
    title = name.replace("_", " ").capitalize()
    return Param(None, type=["null", schema["type"]], title=title, **bounds)


def _switch(title: str, description: str) -> Param:
    return Param(False, type="boolean", title=title, description=description)
