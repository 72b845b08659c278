"""`make bench-peers`: this project beside what a user might take instead, in turns, on the same questions and weights.

The peers run in an environment of their own, whose interpreter is the argument. `SOURCE` names a CSV to train on and to
score; without it the rows are generated. Both cores must be quiet: PyTorch's threads spin, and lose several times their
speed beside another process.

usage: python -m benchmarks.peers PEERS-PYTHON [training] [scoring]
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.__main__ import table
from benchmarks.hub_module import SIZES
from benchmarks.processes import PROJECT, python, run
from ml.config import Config
from ml.encoder.huggingface import package_folder
from ml.source.sample import write_sample

ROUNDS = 3
STEPS = {"minilm": 100, "bert-base": 20}
SCORED_ROWS = 2048
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "TRANSFORMERS_VERBOSITY": "error"}

Command = Sequence[str]


@dataclass(frozen=True)
class Bench:
    """Where the peers' interpreter, the model, the questions and scratch files are."""

    peers: str
    model: str
    rows: str
    folder: str

    def trainings(self, size: str) -> Mapping[str, Command]:
        """Return the command that measures each way to train."""
        steps, ours = str(STEPS[size]), self.model if size == "minilm" else f"{self.folder}/{size}"
        theirs = [self.peers, "-m", "benchmarks.peers.trainer", size]
        return {
            "Sincere": python("-m", "benchmarks.training", "ours", ours, steps, self.rows, f"{self.folder}/speed.json"),
            "Trainer, bfloat16, grouped by length": [*theirs, "bfloat16", self.model, self.rows, steps],
            "Trainer, float32, grouped by length": [*theirs, "float32", self.model, self.rows, steps],
        }

    def scorings(self) -> Mapping[str, Command]:
        """Return the command that measures each way to score."""
        torch = [self.peers, "-m", "benchmarks.peers.torch_scores"]
        onnx = [self.peers, "-m", "benchmarks.peers.onnx_scores"]
        ours, scored = ["-m", "benchmarks.peers.our_scores"], [self.folder, self.rows, str(SCORED_ROWS)]
        asked = [self.model, self.rows, str(SCORED_ROWS)]
        return {
            "Sincere, float32": python(*ours, "float32", *scored),
            "Sincere, bfloat16": python(*ours, "bfloat16", *scored),
            "Hugging Face pipeline": [*torch, "pipeline", *asked],
            "PyTorch, float32, grouped by length": [*torch, "float32", *asked],
            "PyTorch, bfloat16, grouped by length": [*torch, "bfloat16", *asked],
            "ONNX Runtime, float32, grouped by length": [*onnx, "float32", *asked, self.folder],
            "ONNX Runtime, int8, grouped by length": [*onnx, "int8", *asked, self.folder],
        }

    def prepare_training(self) -> None:
        """Make the encoder of BERT-base's size."""
        self._run(python("-m", "benchmarks.hub_module", "bert-base", f"{self.folder}/bert-base"))

    def prepare_scoring(self) -> None:
        """Export the models that score."""
        self._run(python("-m", "benchmarks.peers.our_scores", "export", self.folder))
        self._run([self.peers, "-m", "benchmarks.peers.onnx_scores", "export", self.model, self.folder])

    def _run(self, command: Command) -> None:
        run(command, environment=ENVIRONMENT, log=Path(self.folder) / "log")


def main(peers: str, *names: str) -> None:
    """Print the table of each comparison that is named, by default of all."""
    with tempfile.TemporaryDirectory(prefix="sincere-bench-") as folder:
        rows = Path(os.environ.get("SOURCE") or Path(folder) / "rows.csv")
        if not rows.exists():
            write_sample(rows, rows=20_000, seed=42)
        bench = Bench(peers, str(package_folder(Config().encoder.source.removeprefix("package:"))), str(rows), folder)
        comparisons = {"training": _training, "scoring": _scoring}
        for name in names or comparisons:
            for title, results in comparisons[name](bench):
                print(f"\n{title}\n{table(results)}", flush=True)


def _training(bench: Bench) -> Iterator[tuple[str, list[dict[str, object]]]]:
    bench.prepare_training()
    for size in SIZES:
        yield (
            f"training {size}",
            _compared(bench.trainings(size), "examples/s", Path(bench.folder) / "speed.json"),
        )


def _scoring(bench: Bench) -> Iterator[tuple[str, list[dict[str, object]]]]:
    bench.prepare_scoring()
    yield "scoring minilm", _compared(bench.scorings(), "rows/s", Path(bench.folder) / "speed.json")


def _compared(arms: Mapping[str, Command], unit: str, file: Path) -> list[dict[str, object]]:
    """Measure all arms in turns, and compare the first with each by the median of the rounds' ratios."""
    rounds = [{arm: _speed(command, file) for arm, command in arms.items()} for _ in range(ROUNDS)]
    ours = next(iter(arms))
    return [
        {
            "": arm,
            unit: median(each[arm] for each in rounds),
            "from": min(each[arm] for each in rounds),
            "to": max(each[arm] for each in rounds),
            f"{ours} is quicker by": f"{median(each[ours] / each[arm] for each in rounds):.2f}",
        }
        for arm in arms
    ]


def _speed(command: Command, file: Path) -> float:
    """Return what the command has written into the file, or has printed."""
    file.unlink(missing_ok=True)
    done = subprocess.run(
        command, cwd=PROJECT, env=os.environ | ENVIRONMENT, check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return float(json.loads(file.read_text() if file.exists() else done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
