"""Run a case in a process of its own, with a time limit, and watch the memory of the GPU meanwhile."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from benchmarks.processes import PROJECT

Row = dict[str, Any]
_PREFIX = "row: "
_ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "1"}
_SECONDS_TO_GIVE_BACK = 5.0
_SLACK_MIB = 64


@dataclass(kw_only=True)
class Outcome:
    """What a process gave: rows, how it ended, and GPU memory in MiB before, at most, and after it; 0 without a GPU."""

    rows: list[Row] = field(default_factory=list)
    end: str = "ended"
    seconds: float = 0.0
    before: float = 0.0
    at_most: float = 0.0
    after: float = 0.0

    @property
    def memory_is_back(self) -> bool:
        """Whether the GPU has the memory again that it had before."""
        return self.after <= self.before + _SLACK_MIB


def tell(row: Row) -> None:
    """Hand a row to the process that runs this case."""
    print(_PREFIX + json.dumps(row), flush=True)


def run_case(arguments: Sequence[str], *, seconds: float, log: Path, environment: Mapping[str, str]) -> Outcome:
    """Run a case; what it told before it failed or ran out of time is kept."""
    outcome = Outcome(before=used_mib())
    started = time.monotonic()
    ended, watcher = _watch(outcome)
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu_check", "case", *arguments],
            cwd=PROJECT,
            env={**os.environ, **_ENVIRONMENT, **environment},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        reader = Thread(target=_read, args=(process, outcome.rows))
        reader.start()
        try:
            status = process.wait(timeout=max(seconds, 1.0))
            outcome.end = "ended" if status == 0 else f"failed with {status}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            outcome.end = f"was stopped after {seconds:.0f} s"
        reader.join()
    ended.set()
    watcher.join()
    outcome.after = _settled_mib(outcome.before)
    outcome.seconds = time.monotonic() - started
    return outcome


def used_mib() -> float:
    """Return the memory in use on the first GPU, by all processes; 0 without a GPU."""
    if not shutil.which("nvidia-smi"):
        return 0.0
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return float(answer.splitlines()[0]) if answer.strip() else 0.0


def _read(process: "subprocess.Popen[str]", rows: list[Row]) -> None:
    assert process.stdout
    with process.stdout:
        rows += [json.loads(line.removeprefix(_PREFIX)) for line in process.stdout if line.startswith(_PREFIX)]


def _watch(outcome: Outcome) -> tuple[Event, Thread]:
    """Note the highest use of memory until the event is set."""
    ended = Event()

    def watch() -> None:
        while not ended.wait(0.5):
            outcome.at_most = max(outcome.at_most, used_mib())

    thread = Thread(target=watch, daemon=True)
    thread.start()
    return ended, thread


def _settled_mib(before: float) -> float:
    """Return the memory in use once it is as before, or after some seconds: the driver frees it a moment later."""
    until = time.monotonic() + _SECONDS_TO_GIVE_BACK
    while (now := used_mib()) > before + _SLACK_MIB and time.monotonic() < until:
        time.sleep(0.2)
    return now
