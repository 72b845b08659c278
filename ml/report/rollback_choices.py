"""The former champions that a person may roll back to, as a small file which Airflow's form reads.

It is a proposal: the file may be stale, and any version of the history may be named instead.
"""

import json
from contextlib import suppress

from ml.errors import SincereError
from ml.records import HistoryEntry
from ml.registry.history import former_champions
from ml.run import Run
from ml.store.files import write_whole

_NAME = "rollback_choices.json"


def write_rollback_choices(run: Run, predecessors: int) -> None:
    """Write words on each former champion that is kept, by version; without an answer of the registry, leave them."""
    with suppress(SincereError):
        history = run.registry.history()
        last = {entry.version: entry for entry in history if entry.verdict == "promote"}
        former = former_champions(history, predecessors)[1:]
        words = {version: _words(last[version]) for version in former if version in last}
        write_whole(run.reports / _NAME, json.dumps(words) + "\n")


def _words(entry: HistoryEntry) -> str:
    day = entry.time.partition("T")[0]
    return f"{entry.version} ({day}, precision {entry.precision:.4f}, recall {entry.recall:.4f})"
