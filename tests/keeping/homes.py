"""A home with a champion, its predecessors, a decision that can be replayed, and what nobody needs; made in no time."""

import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from ml.config import Config, RetentionConfig
from ml.data.rows import ROWS_SCHEMA
from ml.judge.kept_decisions import keep_decision
from ml.records import NoEvidence, digest, to_json
from ml.run import Run
from ml.steps import run_step
from tests.judge.examples import compare_next, judged, open_run, probed

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
        comparison = compare_next(run, content)
        decision = judged(comparison)
        with run.store.staging() as folder:
            (folder / "comparison.json").write_text(to_json(comparison))
            run.store.commit(folder, "comparisons", digest(comparison))
        keep_decision(run.store, decision, CONFIG.policy, NoEvidence(), probed(comparison))
        run_step("promote", CONFIG, run, (comparison, decision, probed(comparison)))
    return run


def age(home: Path, days: float) -> None:
    """Let all below a home have been written so long ago."""
    then = time.time() - days * DAY
    for path in [*home.rglob("*"), home]:
        os.utime(path, (then, then), follow_symlinks=False)
