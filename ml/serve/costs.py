"""Measure what it costs to serve a candidate and the champion.

The two servers take turns on the same questions. In each round their latencies give a ratio, and the result is the
median of these ratios: on a busy machine latencies vary fourfold within a minute, but those of both servers alike.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from ml.progress import progress
from ml.records import PairedCosts, ServingCosts
from ml.serve.server_process import Server

BATCH_TEXTS = 256
QUESTION_ROUNDS = 100
BATCH_ROUNDS = 5

_Seconds = list[list[float]]


def measure_alone(server: Server, texts: Sequence[str]) -> ServingCosts:
    """Measure the costs of one server."""
    of_question, of_batch = _time([server], texts)
    return _costs(server, of_question[0], of_batch[0])


def measure_side_by_side(candidate: Server, champion: Server, texts: Sequence[str]) -> PairedCosts:
    """Measure the costs of two servers that take turns."""
    of_question, of_batch = _time([candidate, champion], texts)
    return PairedCosts(
        candidate=_costs(candidate, of_question[0], of_batch[0]),
        champion=_costs(champion, of_question[1], of_batch[1]),
        question_ratio=_median_ratio(*of_question),
        batch_ratio=_median_ratio(*of_batch),
    )


def _time(servers: Sequence[Server], texts: Sequence[str]) -> tuple[_Seconds, _Seconds]:
    """Time single questions, and batches, on each server.

    The texts are repeated until they fill a batch of 256. First answers are not timed, since a server still allocates
    memory for them.
    """
    batch: list[str] = np.resize(np.array(texts, dtype=object), BATCH_TEXTS).tolist()
    questions = [[text] for text in batch[:QUESTION_ROUNDS]]
    with progress("time the models", 3, " sizes") as bar:
        take_turns(servers, [batch, questions[0]])
        bar.update()
        of_question = take_turns(servers, questions)
        bar.update()
        of_batch = take_turns(servers, [batch] * BATCH_ROUNDS)
        bar.update()
    return of_question, of_batch


def take_turns(servers: Sequence[Server], batches: Sequence[Sequence[str]]) -> _Seconds:
    """Time each batch on each server, seconds [servers][batches]; the servers swap their order after each batch."""
    seconds: _Seconds = [[] for _ in servers]
    order = list(zip(servers, seconds, strict=True))
    for texts in batches:
        for server, taken in order:
            taken.append(server.ask(texts).seconds)
        order.reverse()
    return seconds


def _costs(server: Server, of_question: list[float], of_batch: list[float]) -> ServingCosts:
    return ServingCosts(
        question_seconds=median(of_question),
        batch_seconds=median(of_batch),
        peak_memory_bytes=server.peak_memory_bytes,
        artifact_bytes=artifact_bytes(server.folder),
    )


def artifact_bytes(folder: Path) -> int:
    """Return the size of all files of a model."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _median_ratio(candidate: list[float], champion: list[float]) -> float:
    return median(ours / theirs for ours, theirs in zip(candidate, champion, strict=True))
