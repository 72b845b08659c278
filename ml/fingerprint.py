"""Digests of all inputs that decide a candidate. A run with the inputs of an earlier run would repeat its work."""

import ast
import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path

from ml.config import PROJECT, Config, RetentionConfig, SourceConfig, TrackingConfig, config_digest
from ml.records import Inputs
from ml.store.files import file_digest

# What decides a verdict, by its place in the package; what tells of it, keeps it or carries it out does not.
DECIDING = ("source", "data", "encoder", "training", "model", "judge", "serve", "config/slices.py", "metrics.py")


def inputs_of(config: Config, snapshot: str) -> Inputs:
    """Return the inputs of a run on the CSV with this sha256, without settings that decide no result."""
    counted = replace(
        config,
        source=SourceConfig(),
        train=config.train.deciding,
        retention=RetentionConfig(),
        tracking=TrackingConfig(),
    )
    suites = [_file_state(PROJECT / name) for name in (config.validate.raw_suite, config.validate.splits_suite)]
    return Inputs(
        snapshot=snapshot,
        config=config_digest(counted),
        suites=_digest_of("\n".join(suites)),
        code=code_version(),
    )


@cache
def code_version(places: tuple[str, ...] = DECIDING) -> str:
    """Return the sha256, in hex, of names and code of these rooms and files of the package: a version without git."""
    package = Path(__file__).parent
    files = sorted(path for place in places for path in _modules(package / place))
    states = [f"{path.relative_to(package).as_posix()} {code_digest(path.read_text('utf-8'))}" for path in files]
    return _digest_of("\n".join(states))


def code_digest(source: str) -> str:
    """Return the sha256, in hex, of a module's code without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [statement for statement in node.body if not _is_text(statement)] or [ast.Pass()]
    return _digest_of(ast.unparse(tree))


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _modules(place: Path) -> list[Path]:
    return [place] if place.is_file() else list(place.rglob("*.py"))


def _file_state(path: Path) -> str:
    return file_digest(path) if path.is_file() else "absent"  # the step validate reports it


def _digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
