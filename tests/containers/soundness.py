"""What holds after any fault: the registry is as before or as after a run, and nothing half-written is left."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.containers.stack import STATE, Stack

_HALF_WRITTEN = f"find {STATE}/store {STATE}/registry {STATE}/reports -name '*.part' -o -path '*/staging/*' -type f"


@contextmanager
def unharmed(stack: Stack, *, runs: int = 1) -> Iterator[None]:
    """Assert at the end that so many runs, which have ended, left the registry as it was or added their entries."""
    before = stack.history()
    yield
    after = stack.history()
    assert after[: len(before)] == before
    added = [entry["run_id"] for entry in after[len(before) :]]
    assert len(added) == len(set(added)) <= runs
    assert_sound(stack)


def assert_sound(stack: Stack) -> None:
    """Assert that the alias points at the version of the last move, whole by its digest, and that no part is left."""
    assert "whole" in stack.within("worker", "python", "-m", "ml", "registry", "check")
    aliases = json.loads(stack.within("worker", "cat", f"{STATE}/registry/aliases.json"))
    moved = [entry["version"] for entry in stack.history() if entry["promoted"] or entry["verdict"] == "rollback"]
    assert aliases["versions"]["production"] == moved[-1]
    assert stack.within("worker", "bash", "-c", _HALF_WRITTEN) == ""
