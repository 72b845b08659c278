"""Digests of all inputs that decide a candidate. A run with the inputs of an earlier run would repeat its work.

No digest depends on a place: a suite and an encoder count by their content.
"""

import ast
import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib import metadata
from pathlib import Path

from ml.config import (
    PROJECT,
    Config,
    EncoderConfig,
    GcConfig,
    RetentionConfig,
    ScoreConfig,
    SourceConfig,
    TrackingConfig,
    ValidateConfig,
    config_digest,
)
from ml.config.redaction import PACKAGE
from ml.records import Champion, Inputs
from ml.store.files import file_digest

_WEIGHTS = ("model.safetensors", "saved_model.pb")
_ABSENT = "absent"  # the step that needs it reports it
_LIBRARIES = (
    "tensorflow",
    "tensorflow-text",
    "tensorflow-hub",
    "tf-keras",
    "tf-models-official",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
)


# What decides a verdict, by its place in the package; what tells of it, keeps it or carries it out does not.
DECIDING = ("source", "data", "encoder", "training", "model", "judge", "serve", "config/slices.py", "metrics.py")


def inputs_of(config: Config, snapshot: str, champion: Champion) -> Inputs:
    """Return the inputs of a run on the CSV with this sha256 beside this champion.

    Settings of source, scoring, retention, clean-up and tracking do not count, nor when a person is asked.
    """
    counted = replace(
        _without_places(config),
        source=SourceConfig(),
        score=ScoreConfig(),
        retention=RetentionConfig(),
        gc=GcConfig(),
        tracking=TrackingConfig(),
        policy=config.policy.deciding,
    )
    validate = config.validate
    suites = [suite_path(name) for name in (validate.raw_suite, validate.splits_suite, validate.change_suite)]
    return Inputs(
        snapshot=snapshot,
        config=config_digest(counted),
        suites=_digest_of("\n".join(map(_file_state, suites))),
        encoder=encoder_content(config.encoder.source),
        libraries=library_versions(),
        code=code_version(),
        champion=champion,
    )


def training_digest(config: Config) -> str:
    """Return the sha256, in hex, of the settings and the encoder that decide a training on given splits."""
    counted = _without_places(config)
    settings = [
        config_digest(section) for section in (counted.encoder, counted.train, counted.serve, counted.threshold)
    ]
    return _digest_of("\n".join([*settings, encoder_content(config.encoder.source)]))


def suite_path(name: str) -> Path:
    """Return the path of a suite: a relative one begins at the project, or else at the current folder."""
    path = Path(name).expanduser()
    return beside if (beside := PROJECT / path).is_file() else path


def encoder_content(source: str) -> str:
    """Return the digest of the files of an encoder in a folder or a package, or of the address of a hub's module."""
    if "://" in source:
        return _digest_of(source)
    weights = weights_files(source)
    if not weights:
        return _ABSENT
    folder = weights[0].parent
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return _digest_of("\n".join(f"{path.relative_to(folder).as_posix()} {_file_state(path)}" for path in files))


def weights_files(source: str) -> Sequence[Path]:
    """Find the files with weights in a folder or an installed package; a package is not imported."""
    if not source.startswith(PACKAGE):
        return [path for name in _WEIGHTS if (path := Path(source, name)).is_file()]
    try:
        files = metadata.files(source.removeprefix(PACKAGE)) or []
    except (metadata.PackageNotFoundError, ValueError):
        return []
    return [Path(str(file.locate())) for file in files if file.name in _WEIGHTS]


@cache
def library_versions() -> str:
    """Return the sha256, in hex, of the versions of the libraries that compute rows, weights, scores and figures.

    Python's version of Unicode says which texts are the same, and so who goes to which part.
    """
    unicode = f"unicode {unicodedata.unidata_version}"
    return _digest_of("\n".join([unicode, *(f"{name} {_version(name)}" for name in _LIBRARIES)]))


@cache
def code_version(places: tuple[str, ...] = DECIDING) -> str:
    """Return the sha256, in hex, of names and code of these rooms and files of the package: a version without git."""
    package = Path(__file__).parent
    files = sorted(path for place in places for path in _modules(package / place))
    states = [f"{path.relative_to(package).as_posix()} {code_digest(path.read_text('utf-8'))}" for path in files]
    return _digest_of("\n".join(states))


@cache
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


def _without_places(config: Config) -> Config:
    """Replace by defaults the paths, and the interval of checkpoints, which decides no result."""
    return replace(
        config,
        validate=ValidateConfig(parameters=config.validate.parameters),
        encoder=replace(config.encoder, source=EncoderConfig().source),
        train=config.train.deciding,
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return _ABSENT


def _file_state(path: Path) -> str:
    if not path.is_file():
        return _ABSENT
    status = path.stat()
    return _known_digest(path, status.st_size, status.st_mtime_ns)


@cache
def _known_digest(path: Path, _bytes: int, _changed_ns: int) -> str:
    return file_digest(path)


def _digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
