"""Which model a DAG is about. The DAG's tag names it; settings, home, registry and asset follow from that name."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retraining import PROJECT

if TYPE_CHECKING:
    from airflow.sdk import Asset

MODEL_TAG = "model:"
STORE = "SINCERE_STORE"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Model:
    """A model with a champion of its own; raises ConfigError for a name that is no part of a variable and a path."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.name) > _LONGEST_NAME:
            from ml.errors import ConfigError

            fix = "take small letters, digits and single underscores: toxic_comments"
            raise ConfigError(f"{self.name[:_LONGEST_NAME]!r} is no name of a model", where="the DAG", fix=fix)

    @property
    def tag(self) -> str:
        """The tag that names the model."""
        return MODEL_TAG + self.name

    @property
    def tags(self) -> list[str]:
        """What of a DAG's tags says which model it is about; for `QUORA` it need not."""
        return [self.name if self == QUORA else self.tag]

    @property
    def champion(self) -> "Asset":
        """The asset that has an event for each move of its alias."""
        from airflow.sdk import Asset

        return Asset(f"{self.name}_champion")

    @property
    def has_airflows_logs(self) -> bool:
        """Whether the model's clean-up is the one that removes Airflow's logs, which are those of all DAGs."""
        return self == QUORA

    def variable(self, setting: str) -> str:
        """Return the name of a setting's variable; Airflow's Variable has it in lower case."""
        return f"SINCERE_{setting.upper()}" if self == QUORA else f"SINCERE__{self.name.upper()}__{setting.upper()}"

    def told_by(self, setting: str) -> str:
        """Return where a setting is made, as an error says it."""
        variable = self.variable(setting)
        return f"{variable}, or the Variable {variable.lower()}"

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment in which `python -m ml` finds the model's home, object store and registry."""
        from ml.config.environment import home_of

        if self == QUORA:
            return dict(environment)
        home = home_of(environment, PROJECT) / "models" / self.name
        store = {
            name: f"{environment[name].rstrip('/')}/models/{self.name}" for name in (STORE,) if environment.get(name)
        }
        registry = environment.get(self.variable("registry")) or store.get(STORE) or f"file:{home / 'registry'}"
        return {**environment, "SINCERE_HOME": str(home), "SINCERE_REGISTRY": registry, **store}


QUORA = Model("quora")


def model_of(tags: Iterable[str]) -> Model:
    """Return the model that a DAG's tags name: without a name it is `QUORA`."""
    names = sorted(tag.removeprefix(MODEL_TAG) for tag in tags if tag.startswith(MODEL_TAG))
    return Model(names[0]) if names else QUORA


def model_of_task(task: Any) -> Model:
    """Return the model that the DAG of a task is about."""
    return model_of(task.dag.tags) if task.has_dag() else QUORA
