"""`make gpu-check`: show what only a GPU can show, in at most ten minutes; tables on standard output, and a JSON file.

It needs TensorFlow, tensorflow-text, tf-models-official and what they import: no Airflow, no network, no hub. Each case
is a process of its own with a time limit. Without a GPU all of it runs at a tiny size on the CPU, and says so.

usage: python -m benchmarks.gpu_check [--minutes 10] [--size base|tiny] [--only GROUP ...] [--output FILE]
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu_check.watched import Outcome, Row, run_case, tell

BATCH, WIDTHS, STEPS = 256, (64, 32, 48), 20
TINY_WAYS = [
    f"{numbers}{xla}" for numbers in ("float32", "tf32", "mixed_bfloat16", "mixed_float16") for xla in ("", " xla")
]
_NO_GPU = "no GPU"
_UNPROVEN = "There is no GPU here: all of this ran at a tiny size on the CPU, and what it says of GPUs is unproven."


class Check:
    """All groups of cases in their order: the quick ones first, and of the slow ones those that say most."""

    def __init__(self, folder: Path, *, minutes: float, size: str | None) -> None:
        self._folder, self._until = folder, time.monotonic() + 60 * minutes
        self._size = size
        self._dumps = folder / "xla"
        self._log = folder / "log"
        self._peak = 1.0
        self.tables: dict[str, list[Row]] = {}
        self.wrong: list[str] = []
        self.skipped: list[str] = []
        self.has_gpu = False

    def run(self, groups: Sequence[str]) -> None:
        """Run the cases of these groups for which there is time, and print their tables as soon as they have ended."""
        machine = self._case("machine", [], seconds=90)
        self.has_gpu = bool(machine) and machine[0]["card"] != _NO_GPU
        self._size = self._size or ("base" if self.has_gpu else "tiny")
        self._peak = 1e12 * max((row["TFLOP/s"] for row in machine if row["product in"] == "bfloat16"), default=1.0)
        for group in groups:
            GROUPS[group](self)

    def tiny(self) -> None:
        """Losses of the tiny encoder in all number formats; without a GPU, where XLA is slow, in float32."""
        self._write("tiny")
        ways = TINY_WAYS if self.has_gpu else TINY_WAYS[:1]
        self._case("tiny", ["tiny", json.dumps(ways)], seconds=240, title="tiny training", dumped=True)

    def replicas(self) -> None:
        """One replica, and two on one GPU."""
        self._write("tiny")
        ways = ("float32 xla", "mixed_bfloat16 xla") if self.has_gpu else ("float32",)  # on GPUs always with XLA
        self._case("replicas", ["tiny", json.dumps(ways)], seconds=150)

    def bfloat16(self) -> None:
        """The speed of training in bfloat16, with XLA and without."""
        self._train(["mixed_bfloat16 xla"], WIDTHS, seconds=240)
        self._train(["mixed_bfloat16"], WIDTHS[:1], seconds=60)

    def formats(self) -> None:
        """The speed of training in the other number formats."""
        for numbers in ("mixed_float16", "tf32", "float32"):
            self._train([f"{numbers} xla", numbers], WIDTHS[:1], seconds=120)

    def steps(self) -> None:
        """Two models one after the other: the second is probed beside the first, which is the champion then."""
        size = self._written_size()
        for seed in ("42", "43"):
            for step in ("train", "evaluate", "probe", "crown")[: 4 if seed == "42" else 3]:
                self._case("step", [step, size, seed], seconds=150, title="steps", watched=True)
        for device in ("GPU", "CPU"):
            hidden = {"CUDA_VISIBLE_DEVICES": "-1"} if device == "CPU" else {}
            self._case("score", [device], seconds=120, title="scoring", environment=hidden)
        self._case("compare", [], seconds=60, title="scores on GPU and CPU")

    def _train(self, ways: Sequence[str], widths: Sequence[int], *, seconds: float) -> None:
        size = self._written_size()
        batch, steps = (BATCH, STEPS) if self.has_gpu else (8, 2)
        shapes = [(way, batch, width, steps) for way in self._known(ways) for width in widths]
        if not shapes:
            return
        shown = f"training, {size}"
        self._case("base", [size, json.dumps(shapes), str(self._peak)], seconds=seconds, title=shown)

    def _known(self, ways: Sequence[str]) -> list[str]:
        """The ways that say something here: XLA is for GPUs, and on a CPU compiles for minutes."""
        return [way for way in ways if self.has_gpu or not way.endswith("xla")]

    def _written_size(self) -> str:
        assert self._size
        self._write(self._size)
        return self._size

    def _write(self, size: str) -> None:
        if not (self._folder / size).exists():
            self._case("encoder", [size], seconds=120, title="")

    def _case(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        seconds: float,
        title: str | None = None,
        watched: bool = False,
        dumped: bool = False,
        environment: dict[str, str] | None = None,
    ) -> list[Row]:
        left = self._until - time.monotonic()
        title = name if title is None else title
        if left < 5:
            self.skipped.append(f"{name} {' '.join(arguments)}")
            return []
        outcome = run_case(
            [name, str(self._folder), *arguments],
            seconds=min(seconds, left),
            log=self._log,
            environment={**(environment or {}), **(self._dumping() if dumped else {})},
        )
        rows = [row | (_memory(outcome) if watched else {}) for row in outcome.rows]
        self._judge(title, f"{name} {' '.join(arguments)}", outcome, rows)
        return rows

    def _dumping(self) -> dict[str, str]:
        """XLA writes each module that it compiles into a folder, where it is counted."""
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={self._dumps} --xla_dump_hlo_as_text"
        return {"XLA_FLAGS": flags.strip(), "SINCERE_XLA_DUMPS": str(self._dumps)}

    def _judge(self, title: str, case: str, outcome: Outcome, rows: list[Row]) -> None:
        if outcome.end != "ended":
            tail = self._log.read_text(encoding="utf-8", errors="replace")[-1500:]
            self._note(title, f"{case} {outcome.end}:\n{tail}")
        if not outcome.memory_is_back:
            self._note(title, f"{case} left {outcome.after - outcome.before:.0f} MiB of the GPU's memory")
        self.wrong += [f"{case}: {row}" for row in rows if not row["right"]]
        self.tables.setdefault(title, []).extend(rows)
        if rows and title:
            print(f"\n{case}, {outcome.seconds:.0f} s\n{table(rows)}", flush=True)

    def _note(self, title: str, what: str) -> None:
        self.wrong.append(what)
        print(f"\n{title}: {what}", flush=True)


GROUPS: dict[str, Callable[[Check], None]] = {
    "tiny": Check.tiny,
    "bfloat16": Check.bfloat16,
    "replicas": Check.replicas,
    "steps": Check.steps,
    "formats": Check.formats,
}


def _memory(outcome: Outcome) -> Row:
    return {
        "GPU memory before, MiB": outcome.before,
        "at most": outcome.at_most,
        "after": outcome.after,
        "given back": "yes" if outcome.memory_is_back else "NO",
    }


def table(rows: Sequence[Row]) -> str:
    """Format a Markdown table with all columns that any row has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [[_cell(row.get(name, "")) for name in columns] for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (columns, ["---"] * len(columns), *lines))


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _encoder(folder: Path, size: str) -> Iterator[Row]:
    from benchmarks.gpu_check.encoders import write_encoder

    write_encoder(folder / size, size)
    yield {"encoder": size, "right": True}


def _machine(folder: Path) -> Iterator[Row]:
    from benchmarks.gpu_check.machine import machine

    return machine()


def _tiny(folder: Path, size: str, ways: str) -> Iterator[Row]:
    from benchmarks.gpu_check.training import tiny, way_of

    return tiny(folder / size, [way_of(way) for way in json.loads(ways)])


def _replicas(folder: Path, size: str, ways: str) -> Iterator[Row]:
    from benchmarks.gpu_check.replicas import replicas
    from benchmarks.gpu_check.training import way_of

    return replicas(folder / size, [way_of(way) for way in json.loads(ways)])


def _base(folder: Path, size: str, shapes: str, peak: str) -> Iterator[Row]:
    from benchmarks.gpu_check.training import Shape, base, way_of

    named = [Shape(way_of(way), rows, width, steps) for way, rows, width, steps in json.loads(shapes)]
    return base(folder / size, size, named, float(peak))


def _step(folder: Path, step: str, size: str, seed: str) -> Iterator[Row]:
    from benchmarks.gpu_check.steps import run_step

    return run_step(step, folder / "home", folder / size, size, int(seed))


def _score(folder: Path, device: str) -> Iterator[Row]:
    from benchmarks.gpu_check.steps import score

    return score(folder / "home", device)


def _compare(folder: Path) -> Iterator[Row]:
    from benchmarks.gpu_check.steps import compare_scores

    return compare_scores(folder / "home")


_CASES: dict[str, Callable[..., Iterator[Row]]] = {
    "encoder": _encoder,
    "machine": _machine,
    "tiny": _tiny,
    "replicas": _replicas,
    "base": _base,
    "step": _step,
    "score": _score,
    "compare": _compare,
}


def main(argv: Sequence[str]) -> int:
    """Run one case, or all of them; return 1 if something is not right."""
    if argv[:1] == ["case"]:
        name, folder, *arguments = argv[1:]
        for row in _CASES[name](Path(folder), *arguments):
            tell(row)
        return 0
    options = _options(argv)
    with tempfile.TemporaryDirectory(prefix="sincere-gpu-") as folder:
        (Path(folder) / "home").mkdir()
        check = Check(Path(folder), minutes=options.minutes, size=options.size)
        check.run(options.only)
    _write(options.output, check)
    return 1 if check.wrong else 0


def _options(argv: Sequence[str]) -> Any:
    home = Path(os.environ.get("SINCERE_HOME", "var"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="no case runs longer than that")
    parser.add_argument("--size", choices=("base", "tiny"), help="of the measured encoder; base where there is a GPU")
    parser.add_argument("--only", nargs="*", choices=tuple(GROUPS), default=tuple(GROUPS), help="groups of cases")
    parser.add_argument("--output", type=Path, default=home / "gpu_check.json")
    return parser.parse_args(argv)


def _write(output: Path, check: Check) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    result = {"gpu": check.has_gpu, "tables": check.tables, "wrong": check.wrong, "skipped": check.skipped}
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten to {output.name}")
    if not check.has_gpu:
        print(_UNPROVEN)
    if check.skipped:
        print("For want of time, and so unproven:\n" + "\n".join(check.skipped))
    print("everything is right" if not check.wrong else "NOT RIGHT:\n" + "\n".join(check.wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
