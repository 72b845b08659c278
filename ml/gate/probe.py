"""Step `probe`: the exported model in a fresh process, on hard questions and on rows whose scores are known."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import numpy as np
import pandas as pd

from ml.config import Config
from ml.errors import ServingError
from ml.gate.scores import read_scores
from ml.metrics import FloatArray
from ml.records import Comparison, Probe, digest
from ml.workspace import Workspace

HARD_QUESTIONS = (
    "",
    "why " * 2500,  # 10,000 characters
    "x" * 10_000,
    "🤔👩‍👩‍👧‍👦🏳️‍🌈",
    "لماذا السماء زرقاء؟ למה השמיים כחולים?",
    "what\0is\0this",
    "?!…,;:()[]'\"—",
    " \t\n\r ",
)
SAMPLED_ROWS = 256
# In float32 the padding of a batch moves a probability by some 1e-6; another model or tokenizer moves it far more.
LARGEST_DIFFERENCE = 1e-4

_SERVER = Path(__file__).parents[1] / "model" / "server.py"
_TIMEOUT_SECONDS = 900


def probe(config: Config, workspace: Workspace, comparison: Comparison) -> Probe:
    """Serve the candidate apart from this code; raises ServingError unless it scores as it was evaluated."""
    model = comparison.candidate.model
    kept = read_scores(workspace.store, comparison)
    rows = np.unique(np.linspace(0, len(kept.target) - 1, SAMPLED_ROWS).astype(int))
    test = pd.read_parquet(workspace.store.open("splits", comparison.candidate.test) / "rows.parquet")
    scores = probe_model(workspace.store.open("models", model), test["question_text"].iloc[rows].tolist())
    difference = float(np.abs(scores - kept.by_model["candidate"][rows]).max())
    if difference > LARGEST_DIFFERENCE:
        _refuse(f"a score differs from the evaluation's by {difference:.2g}, more than {LARGEST_DIFFERENCE:g}")
    return Probe(
        model=model,
        comparison=digest(comparison),
        questions=len(HARD_QUESTIONS),
        rows=len(rows),
        largest_difference=difference,
    )


def probe_model(folder: Path, texts: Sequence[str] = ()) -> FloatArray:
    """Scores of the texts, float32 [texts], by the model in a folder, served apart.

    Raises ServingError if it does not load, or fails on these or on the hard questions.
    """
    asked = [*HARD_QUESTIONS, *texts]
    scores = _serve(folder / "saved_model", asked)
    if scores.shape != (len(asked),):
        _refuse(f"{len(asked)} questions got scores of the shape {scores.shape}")
    if not np.all((scores >= 0) & (scores <= 1)):
        _refuse("some scores are no probabilities (not a number, or outside of 0 to 1)")
    return scores[len(HARD_QUESTIONS) :]


def _serve(saved_model: Path, texts: Sequence[str]) -> FloatArray:
    with TemporaryDirectory() as folder:
        output = Path(folder, "scores.npy")
        command = [sys.executable, "-I", str(_SERVER), str(saved_model), str(output)]
        try:
            done = subprocess.run(  # noqa: S603, our own script
                command,
                input=json.dumps(texts),
                capture_output=True,
                check=False,
                text=True,
                timeout=_TIMEOUT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            _refuse(f"no answer came within {_TIMEOUT_SECONDS} seconds")
        if done.returncode != 0:
            last_line = done.stderr.rstrip().rpartition("\n")[2] if done.returncode > 0 else "killed by a signal"
            _refuse(f"its process ended with status {done.returncode} ({last_line})")
        scores: FloatArray = np.load(output)
        return scores


def _refuse(what: str) -> NoReturn:
    raise ServingError(
        f"the exported model does not serve: {what}",
        where="a fresh process with TensorFlow and tensorflow_text alone",
        fix="the champion is untouched; train and export again with the pinned versions",
    )
