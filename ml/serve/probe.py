"""Step `probe`: serve the exported model in a process of its own, check its scores, and measure what serving costs.

The model is asked hard questions, and test rows whose scores are known from the evaluation.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ml.config import Config
from ml.errors import OutOfResources, ServingError
from ml.judge.row_scores import read_scores, read_texts
from ml.metrics import FloatArray, IntArray
from ml.records import (
    Bfloat16Form,
    Comparison,
    NoChampion,
    PairedCosts,
    Probe,
    Rival,
    ServedForm,
    ServingCosts,
    UnmeasuredCosts,
    digest,
)
from ml.registry import Registry, stored_model
from ml.run import Run
from ml.serve.costs import artifact_bytes, measure_alone, measure_side_by_side
from ml.serve.server_process import DOES_NOT_SERVE, Server, refuse, serve
from ml.store import Store

logger = logging.getLogger(__name__)

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
_BATCH_TEXTS = 32
# The other rows of a batch change a probability by about 1e-6 in float32 and 1e-5 in bfloat16, where one rounding that
# falls otherwise can change it by 1e-3; another model or tokenizer changes far more.
LARGEST_DIFFERENCE, LARGEST_IN_BFLOAT16 = 1e-4, 5e-3


class _NoTurns(NamedTuple):
    """The candidate and the champion in this folder could not be timed side by side, for this reason."""

    champion: Path
    reason: str


def probe(config: Config, run: Run, comparison: Comparison) -> Probe:
    """Serve the candidate in a process without this code, and time it beside the champion.

    Raises ServingError if the candidate does not serve, or if its scores differ from the evaluation's scores.
    """
    rows, texts = _sample(run.store, comparison)
    known = read_scores(run.store, comparison).by_model["candidate"][rows]
    folder = stored_model(run.store, comparison.candidate.model)
    with serve(folder) as server:
        difference = float(np.abs(_answers(server, texts) - known).max())
        if difference > (largest := _largest_difference(comparison.trained.form)):
            refuse(f"a score differs from the evaluation's by {difference:.2g}, more than {largest:g}")
        measured = _measure_costs(server, run.registry, comparison.rival, texts)
    costs = _measure_again(folder, measured, texts) if isinstance(measured, _NoTurns) else measured
    return Probe(
        model=comparison.candidate.model,
        comparison=digest(comparison),
        questions=len(HARD_QUESTIONS),
        rows=len(rows),
        largest_difference=difference,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        costs=costs,
    )


def probe_model(folder: Path) -> None:
    """Raise ServingError if the model in a folder does not load or fails on the hard questions."""
    with serve(folder) as server:
        _answers(server, [])


def _largest_difference(form: ServedForm) -> float:
    return LARGEST_IN_BFLOAT16 if isinstance(form, Bfloat16Form) else LARGEST_DIFFERENCE


def _sample(store: Store, comparison: Comparison) -> tuple[IntArray, list[str]]:
    """Pick some test rows, evenly spread, and return their indices and their questions."""
    texts = read_texts(store, comparison)
    rows = np.unique(np.linspace(0, len(texts) - 1, SAMPLED_ROWS).astype(int))
    return rows, [texts[row] for row in rows]


def _answers(server: Server, texts: Sequence[str]) -> FloatArray:
    """Ask the hard questions and the texts, and return the scores of the texts, float32 [texts]."""
    asked = [*HARD_QUESTIONS, *texts]
    batches = [asked[first : first + _BATCH_TEXTS] for first in range(0, len(asked), _BATCH_TEXTS)]
    return np.concatenate([server.ask(batch).scores for batch in batches])[len(HARD_QUESTIONS) :]


def _measure_costs(
    candidate: Server, registry: Registry, rival: Rival | NoChampion, texts: Sequence[str]
) -> ServingCosts | PairedCosts | _NoTurns:
    """Measure the candidate beside the champion, or alone without a champion."""
    if isinstance(rival, NoChampion):
        return measure_alone(candidate, texts)
    return _take_turns(candidate, registry.fetch(rival.champion.version), texts)


def _take_turns(candidate: Server, champion: Path, texts: Sequence[str]) -> PairedCosts | _NoTurns:
    """Measure the candidate beside the champion in this folder, after the champion did the same work."""
    try:
        with serve(champion) as server:
            _answers(server, texts)
            return measure_side_by_side(candidate, server, texts)
    except (ServingError, OutOfResources) as error:
        return _NoTurns(champion, error.what.removeprefix(DOES_NOT_SERVE))


def _measure_again(folder: Path, failed: _NoTurns, texts: Sequence[str]) -> PairedCosts | UnmeasuredCosts:
    """Try the two side by side once more, then the candidate alone: if it does not serve alone, it is at fault."""
    logger.warning("the costs beside the champion's were not measured (%s): trying once more", failed.reason)
    with serve(folder) as server:
        again = _take_turns(server, failed.champion, texts)
    if isinstance(again, PairedCosts):
        return again
    with serve(folder) as server:
        alone = measure_alone(server, texts)
    return UnmeasuredCosts(reason=again.reason, candidate=alone, champion_artifact_bytes=artifact_bytes(again.champion))
