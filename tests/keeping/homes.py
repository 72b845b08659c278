"""A home with a champion, its predecessors, a decision that can be replayed, and what nobody needs; made in no time."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from ml.config import Config, RetentionConfig
from ml.data.rows import ROWS_SCHEMA
from ml.judge.kept_decisions import keep_decision
from ml.records import NoChampion, NoEvidence, digest, to_json
from ml.registry import CHAMPION_ALIAS
from ml.run import Run
from ml.steps import run_step
from tests.judge.examples import CHAMPION, RIVAL, compare, judged, open_run, probed, store_model

KEPT = RetentionConfig(predecessors=1)
CONFIG = Config(retention=KEPT)
DAY = 86_400
ROWS = pa.table(
    {"qid": ["a1", "b2", "c3"], "question_text": ["Why?", "Who is he?", "why"], "target": [0, 1, 0]}, ROWS_SCHEMA
)


def put(run: Run, kind: str, name: str, rows: pa.Table = ROWS) -> None:
    """Store a folder with rows under any name."""
    with run.store.staging() as folder:
        pa.parquet.write_table(rows, folder / "rows.parquet")
        run.store.commit(folder, kind, name)


def promoted(home: Path, *contents: str) -> Run:
    """Promote models one after the other, as runs of their own, and return the last run."""
    for content in contents:
        run = open_run(home, f"run-{content}")
        promote_model(run, store_model(run.store, content))
    return run


def promote_model(run: Run, model: str) -> None:
    """Promote a stored model, and keep the decision with its comparison."""
    champion = run.registry.resolve(CHAMPION_ALIAS)
    first = isinstance(champion, NoChampion)
    rival = champion if first else replace(RIVAL, champion=champion, evaluation=replace(CHAMPION, model=champion.model))
    comparison = compare(model, rival)
    decision = judged(comparison)
    with run.store.staging() as folder:
        (folder / "comparison.json").write_text(to_json(comparison))
        run.store.commit(folder, "comparisons", digest(comparison))
    keep_decision(run.store, decision, CONFIG.policy, NoEvidence(), probed(comparison))
    run_step("promote", CONFIG, run, (comparison, decision, probed(comparison)))


def age(home: Path, days: float) -> None:
    """Let all below a home have been written so long ago."""
    then = time.time() - days * DAY
    for path in [*home.rglob("*"), home]:
        os.utime(path, (then, then), follow_symlinks=False)
