"""What W&B must have of a run, and what it lacks.

Neither `run.finish` nor `wandb sync` of wandb 0.31.0 fails if W&B refused artifacts or figures
(tests/tracking/test_wandb_client.py shows it). So W&B is asked for each of them.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

ARRIVAL_SECONDS = 10
_POLL_SECONDS = 1


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A run, the names of the artifacts that it used and logged, and whether its figures have an end.

    A process that was killed leaves a run without an end: W&B must then have the run and the artifacts that are named.
    """

    id: str
    name: str
    entity: str
    project: str
    used: Sequence[str] = ()
    logged: Sequence[str] = ()
    ended: bool = False


def missing(expected: Expected, api: Any) -> Sequence[str]:
    """What W&B lacks, in words, after `ARRIVAL_SECONDS` to take it in; raises the client's errors without an answer."""
    until = time.monotonic() + ARRIVAL_SECONDS
    while (lacking := list(_lacking(expected, api))) and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    return lacking


def _lacking(expected: Expected, api: Any) -> Iterator[str]:
    import wandb

    api.flush()  # it remembers the runs that it saw
    try:
        run = api.run(f"{expected.entity or api.default_entity}/{expected.project}/{expected.id}")
    except wandb.errors.CommError as error:
        if "Could not find run" not in str(error):
            raise
        yield "all"
        return
    if expected.ended and run.state not in ("finished", "failed"):
        yield "the end of its figures"
    for name in sorted(set(expected.logged) - _names(run.logged_artifacts())):
        yield f"the artifact {name}"
    for name in sorted(set(expected.used) - _names(run.used_artifacts())):
        yield f"its input {name}"


def _names(artifacts: Any) -> set[str]:
    return {artifact.name.partition(":")[0] for artifact in artifacts}
