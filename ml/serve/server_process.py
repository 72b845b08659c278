"""Serve an exported model in a process of its own, which imports TensorFlow and tensorflow_text alone."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Timer
from typing import IO, NoReturn

import numpy as np

from ml.errors import OutOfResources, ServingError
from ml.metrics import FloatArray
from ml.store.plain_path import plain_path

_SERVER = Path(__file__).with_name("server.py")
_TIMEOUT_SECONDS = 900
# Two servers share a GPU: neither takes all of its memory.
_ENVIRONMENT = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}
DOES_NOT_SERVE = "the exported model does not serve: "


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The probabilities of one batch, float32 [texts], and the seconds that they took."""

    scores: FloatArray
    seconds: float


class Server:
    """A running process that serves the model in `folder`; `log` holds its standard error."""

    def __init__(self, folder: Path, process: "subprocess.Popen[str]", log: IO[str]) -> None:
        self.folder = folder
        self.peak_memory_bytes = 0
        self._process, self._log = process, log

    def ask(self, texts: Sequence[str]) -> Answer:
        """Score one batch; raises ServingError if there is no answer, or if it is not one probability for each text."""
        answer = json.loads(self._exchange(json.dumps(list(texts))))
        scores = np.array(answer["scores"], np.float32)
        if scores.shape != (len(texts),):
            refuse(f"{len(texts)} questions got scores of the shape {scores.shape}")
        if not np.all((scores >= 0) & (scores <= 1)):
            refuse("some scores are no probabilities (not a number, or outside of 0 to 1)")
        self.peak_memory_bytes = answer["peak_memory_bytes"]
        return Answer(scores=scores, seconds=answer["seconds"])

    def _exchange(self, line: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        watchdog = Timer(_TIMEOUT_SECONDS, self._process.kill)
        watchdog.start()
        try:
            print(line, file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            watchdog.cancel()
        return answer or self._explain_silence()

    def _explain_silence(self) -> NoReturn:
        status = self._process.wait()
        if status < 0:
            raise OutOfResources(
                f"the model's server was killed by signal {-status}",
                where="a fresh process with TensorFlow and tensorflow_text alone",
                fix="see that it has memory enough, then try again",
            )
        self._log.seek(0)
        last_line = self._log.read().rstrip().rpartition("\n")[2]
        refuse(f"its process ended with status {status} ({last_line})")


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Serve the model in a folder of the store or the registry; the server ends with the context."""
    command = [sys.executable, "-I", str(_SERVER), plain_path(folder / "saved_model")]
    with (
        TemporaryFile("w+", encoding="utf-8", errors="replace") as log,
        subprocess.Popen(  # noqa: S603, our own script
            command,
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield Server(folder, process, log)
        finally:
            process.kill()
            process.communicate()  # closing the pipe would fail if a dead server left questions unread


def refuse(what: str) -> NoReturn:
    """Raise ServingError."""
    raise ServingError(
        f"{DOES_NOT_SERVE}{what}",
        where="a fresh process with TensorFlow and tensorflow_text alone",
        fix="the champion is untouched; train and export again with the pinned versions",
    )
