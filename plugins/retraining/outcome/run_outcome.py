"""Read in one word how a run ended, as its last step left it beside the reports."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retraining.model import Model
from retraining.params import folder_name

FAILED = ("rejected", "pending", "failed")
ENDED = ("promoted", "kept", "inconclusive", "blocked", "unchanged", "dry_run")
_ALONE = ("rolled_back", "scored", "drift")  # of runs of one task
NOTE = "retraining_note"  # the key of the XCom that becomes the run's note
_LONGEST_REASON = 400

Told = Mapping[str, Any]


def outcome_of(model: Model, run_id: str, failed_tasks: list[str], *, over: bool = True) -> Told:
    """Return outcome, reason and lines of a run; a task that failed without a word makes it `failed`.

    A task that was killed leaves no outcome, or that of an earlier try. A decision that was not carried out when the
    run was over kept the champion.
    """
    told = kept_record(model, run_id, "RunOutcome")
    outcome = str(told.get("outcome", "none"))
    if failed_tasks and outcome not in FAILED:
        return _failed(f"the task {failed_tasks[0]} ended the run: its log says why")
    if not told.keys() >= {"outcome", "reason", "lines"}:
        return _failed("no step left a verdict: the logs of the tasks say why")
    return {**told, "outcome": "kept" if over and outcome == "decided" else outcome}


def leave_note(task_instance: Any, told: Told) -> None:
    """Leave the run's note as an XCom; when the run ends, the listener in run_note.py writes it."""
    task_instance.xcom_push(NOTE, note_of(told))


def note_of(told: Told) -> str:
    """Return the outcome as one paragraph of Markdown, in which nothing of the reason is markup."""
    word = told["outcome"].replace("_", " ").capitalize()
    rest = " · ".join(_plain(line) for line in told["lines"])
    reason = _plain(told["reason"])[:_LONGEST_REASON]
    return f"**{word}**: {reason}" + (f" · {rest}" if rest else "")


def is_note(paragraph: str) -> bool:
    """Say whether a paragraph is such a note."""
    words = "|".join((*ENDED, *FAILED, *_ALONE)).replace("_", " ")
    return bool(re.match(rf"\*\*({words})\*\*: ", paragraph, re.IGNORECASE))


def kept_record(model: Model, run_id: str, kind: str) -> Told:
    """Return the record that a step kept for the run's page; empty if there is none that can be read."""
    folder = _folder(model, run_id)
    return _read(folder / "page" / f"{kind}.json", folder)


def kept_entry(model: Model, run_id: str, verdict: str) -> Told:
    """Return the run's line of the history with that verdict; empty if there is none."""
    folder = _folder(model, run_id)
    entries = [_read(file, folder) for file in sorted((folder / "history").glob("*.json"))]
    return next((entry for entry in entries if entry.get("verdict") == verdict), {})


def _folder(model: Model, run_id: str) -> Path:
    from retraining.pages.run_folder import reports_of_run

    return reports_of_run(model, folder_name(run_id))


def _read(file: Path, folder: Path) -> Told:
    from retraining.pages.run_folder import is_report

    if not is_report(file, folder):
        return {}
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:  # not JSON, or not UTF-8
        return {}
    return record if isinstance(record, dict) else {}


def _failed(reason: str) -> Told:
    return {"outcome": "failed", "reason": reason, "lines": []}


def _plain(text: str) -> str:
    """Return the text in one line, with what Markdown would take for markup or a link as it stands."""
    line = " ".join(text.split())
    return re.sub(r"[\\`*\[\]<>~|&#]|\b_|_\b|(?<=www)\.|:(?=//)", lambda found: f"\\{found.group()}", line)
