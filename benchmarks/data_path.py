"""Measure the data path at full size: pull, validate, split and tokenize a generated CSV of 1,306,122 rows.

Each step is a process of its own, as in Airflow, so its seconds include start-up and imports.
"""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet

from benchmarks.processes import python, run

ROWS = 1_306_122


def measure(rows: int = ROWS) -> list[dict[str, object]]:
    """Measure each step: its wall and CPU seconds, and its peak memory in MiB."""
    with tempfile.TemporaryDirectory(prefix="sincere-bench-") as folder:
        return _measure(Path(folder), rows)


def _measure(folder: Path, rows: int) -> list[dict[str, object]]:
    environment = {"SINCERE_HOME": str(folder / "home"), "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    log, csv = folder / "log", folder / "generated.csv"
    records: list[Path] = []
    run(python("-m", "ml", "sample", "--rows", str(rows), "--output", str(csv)), environment=environment, log=log)
    results: list[dict[str, object]] = []
    for step in ("snapshot", "validate", "split"):
        output = folder / f"{step}.json"
        inputs = [argument for record in records for argument in ("--input", str(record))]
        command = python("-m", "ml", step, "--source", str(csv), "--run-id", "bench", *inputs, "--output", str(output))
        cost = run(command, environment=environment, log=log)
        results.append({"step": step, **asdict(cost)})
        records.append(output)
    digest = json.loads(records[0].read_text())["sha256"]
    snapshot = folder / "home" / "store" / "snapshots" / digest / "rows.parquet"
    cost = run(python("-m", "benchmarks.data_path", str(snapshot)), environment=environment, log=log)
    return [*results, {"step": "tokenize", **asdict(cost)}]


def _tokenize(snapshot: Path) -> None:
    from ml.config.load import load_config
    from ml.data.rows import read_batches
    from ml.encoder.pretrained import build_tokenizer, read_encoder
    from ml.encoder.tokenizer import CHUNK_TEXTS

    rows = pyarrow.parquet.read_metadata(snapshot).num_rows
    batches = read_batches(snapshot, ["question_text"], batch_rows=CHUNK_TEXTS)
    texts = (batch["question_text"].to_pylist() for batch in batches)
    config = load_config("local").encoder
    tokenizer = build_tokenizer(read_encoder(config.source), config.max_tokens)
    tokenizer.tokenize_to(snapshot.with_name("token_ids"), texts, rows)


if __name__ == "__main__":
    _tokenize(Path(sys.argv[1]))
