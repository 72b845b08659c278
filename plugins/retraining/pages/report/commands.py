"""The commands that a run's page proposes, for a shell in the project's folder."""

import os
import shlex
from collections.abc import Sequence

from ml.records import Decision, ModelVersion, Promotion, digest
from retraining.model import QUORA, STORE, Model
from retraining.pages.report.kept import Kept

_HOME = "${SINCERE_HOME:-var}"


def commands_of(kept: Kept, model: Model) -> Sequence[tuple[str, str]]:
    """Return commands, with what each is for: to judge again, and to go back."""
    program = " ".join([*_variables(model), "python -m ml"])
    decisions = f'"{_home(model)}"/store/decisions'
    commands = [
        ("Judge again, from the stored scores", f"{program} replay {decisions}/{digest(decision)}/decision.json")
        for decision in kept.all(Decision)
    ]
    for promotion in kept.all(Promotion):
        if promotion.promoted and isinstance(promotion.previous, ModelVersion):
            back = f"{program} rollback --to {shlex.quote(promotion.previous.version)} --reason 'WHY'"
            commands.append((f"Back to {promotion.previous.version}, also as a DAG of the model", back))
    return commands


def _home(model: Model) -> str:
    return _HOME if model == QUORA else f"{_HOME}/models/{model.name}"


def _variables(model: Model) -> Sequence[str]:
    """Return what tells a command where the model is; nothing has to for the usual one."""
    if model == QUORA:
        return []
    variable = model.variable("registry")
    registry = [f'SINCERE_REGISTRY="${variable}"'] if os.environ.get(variable) else []
    store = [f'{STORE}="${STORE}/models/{model.name}"'] if os.environ.get(STORE) else []
    return [f'SINCERE_HOME="{_home(model)}"', *registry, *store]
