"""Measure the data path at full size: pull, validate, split, tokenize and compare a generated CSV of 1,306,122 rows.

usage: python -m benchmarks data-path
       python -m benchmarks.data_path --rows 13000000      (at another size)

Each step is a process of its own, as in Airflow, so its seconds include start-up and imports.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
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
    log = folder / "log"
    results = prepare(folder, rows, environment=environment, log=log)
    digest = json.loads((folder / "snapshot.json").read_text())["sha256"]
    snapshot = folder / "home" / "store" / "snapshots" / digest / "rows.parquet"
    for part in _PARTS:
        cost = run(python("-m", "benchmarks.data_path", part, str(snapshot)), environment=environment, log=log)
        results.append({"step": part, **asdict(cost)})
    return results


def prepare(folder: Path, rows: int, *, environment: Mapping[str, str], log: Path) -> list[dict[str, object]]:
    """Take generated rows up to their parts; each step's record and costs are kept."""
    csv = folder / "generated.csv"
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
    return results


def _compare(snapshot: Path) -> None:
    """Compare the file with itself, as `validate` compares it with the champion's: all ids occur in both."""
    from ml.data.change import measure_change
    from ml.records import ChampionSnapshot
    from ml.registry.local import LocalRegistry
    from ml.run import Run
    from ml.store import Store

    home = snapshot.parents[3]
    run = Run(store=Store(home / "store"), registry=LocalRegistry(home), reports=home, run_id="bench")
    measure_change(run, ChampionSnapshot(version="v1", snapshot=snapshot.parent.name), snapshot)


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


_PARTS = {"tokenize": _tokenize, "change": _compare}


if __name__ == "__main__":
    if sys.argv[1] == "--rows":
        for result in measure(int(sys.argv[2])):
            print(json.dumps(result), flush=True)
    else:
        _PARTS[sys.argv[1]](Path(sys.argv[2]))
