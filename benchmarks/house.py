"""Measure the code: files and lines of each folder, modules that each step reaches, lines in the functions' bodies.

usage: python -m benchmarks.house [CHECKOUT]      (default: this checkout; a worktree of an earlier commit will do)
"""

import ast
import importlib
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import grimp

PROJECT = Path(__file__).parents[1]
ROOMS = ("ml", "plugins", "dags")


def main(checkout: Path = PROJECT) -> None:
    """Print all three measures of a checkout."""
    files = [path for room in ROOMS for path in sorted((checkout / room).rglob("*.py"))]
    print_rooms(checkout, files)
    print_reach(checkout)
    print_functions(files)


def print_rooms(checkout: Path, files: list[Path]) -> None:
    """Print files and lines of each folder with Python files."""
    rooms: dict[Path, list[int]] = defaultdict(list)
    for path in files:
        rooms[path.parent.relative_to(checkout)].append(len(path.read_text(encoding="utf-8").splitlines()))
    for room, lines in rooms.items():
        print(f"{room.as_posix():24} {len(lines):3} files {sum(lines):6,} lines")
    print(f"{'all':24} {len(files):3} files {sum(map(sum, rooms.values())):6,} lines")


def print_reach(checkout: Path) -> None:
    """Print how many modules of `ml` each step imports, directly or through others, also inside functions."""
    sys.path.insert(0, str(checkout))
    steps = importlib.import_module("ml.steps")
    graph = grimp.build_graph("ml", cache_dir=None)
    for name, step in steps.STEPS.items():
        module = step.function.partition(":")[0]
        print(f"{name:10} reaches {len(graph.find_upstream_modules(module)):3} modules from {module}")


def print_functions(files: list[Path]) -> None:
    """Print how many lines the functions' bodies have, without their docstrings."""
    lengths = sorted(length for path in files for length in _body_lines(path))
    tenth = lengths[int(0.9 * len(lengths))]
    print(f"{len(lengths)} functions, body lines: median {median(lengths):g}, p90 {tenth}, longest {lengths[-1]}")


def _body_lines(path: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body:
                yield (body[-1].end_lineno or 0) - body[0].lineno + 1


if __name__ == "__main__":
    main(*(Path(argument).resolve() for argument in sys.argv[1:]))
