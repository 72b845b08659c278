"""Several machines that train one model together: which they are, and which of them this process is.

Each makes all batches, computes its devices' share of each, and has the same weights after each step
(`MultiWorkerMirroredStrategy`). The leader alone writes: checkpoints, model and record.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field, ValidationError

from ml.errors import ConfigError

_FORM = 'write {"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": "worker", "index": NUMBER}}, see TensorFlow'


class _Task(BaseModel):
    type: str
    index: int = Field(ge=0)


class _TfConfig(BaseModel):
    """The variable by which Kubernetes' training operators, and others, tell each process its place."""

    cluster: dict[str, list[str]]
    task: _Task


@dataclass(frozen=True)
class Alone:
    """This machine trains by itself."""

    leads: bool = True
    machines: int = 1
    number: int = 0


@dataclass(frozen=True, kw_only=True)
class Workers:
    """The machines' addresses by role, and role and number of this process."""

    cluster: Mapping[str, Sequence[str]]
    role: str
    index: int

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.number == 0

    @property
    def machines(self) -> int:
        """How many machines train together."""
        return sum(map(len, self.cluster.values()))

    @property
    def number(self) -> int:
        """Which of them this process is, from 0 on."""
        return self.index + (self.role == "worker" and "chief" in self.cluster)


def find_workers(addresses: Sequence[str], index: int, environment: Mapping[str, str]) -> Workers | Alone:
    """Return who trains together, by the variable TF_CONFIG, or else by the addresses.

    `index` is the number of this process among the addresses. Raises ConfigError if either is not as it should be.
    """
    text = environment.get("TF_CONFIG", "")
    if text:
        return _by_variable(text)
    if len(addresses) <= 1:
        return Alone()
    refuse_number(index, len(addresses))
    return Workers(cluster={"worker": tuple(addresses)}, role="worker", index=index)


def refuse_number(number: int, machines: int) -> None:
    """Raise ConfigError for the number of a machine that there is not."""
    if number >= machines:
        raise ConfigError(
            f"there is no worker {number} among {machines}",
            where="config [train] workers and machines",
            fix=f"give a number from 0, the leader, to {machines - 1}",
        )


def _by_variable(text: str) -> Workers | Alone:
    try:
        found = _TfConfig.model_validate(json.loads(text))
    except (ValueError, ValidationError):
        raise ConfigError("it is not in TensorFlow's form", where="TF_CONFIG", fix=_FORM) from None
    cluster, task = found.cluster, found.task
    if not cluster.keys() <= {"chief", "worker"} or len(cluster.get("chief", ["one"])) != 1:
        raise ConfigError("only workers, and one chief, can train together", where="TF_CONFIG", fix=_FORM)
    if task.index >= len(cluster.get(task.type, [])):
        raise ConfigError("its task is not in its cluster", where="TF_CONFIG", fix=_FORM)
    if sum(map(len, cluster.values())) == 1:
        return Alone()
    return Workers(cluster=cluster, role=task.type, index=task.index)
