"""Digests of all inputs that decide a candidate. A run with the inputs of an earlier run would repeat its work."""

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path

from ml.config import PROJECT, Config, RetentionConfig, SourceConfig, TrackingConfig, config_digest
from ml.records import Inputs
from ml.store.files import file_digest

_CODE_SUFFIXES = {".py", ".toml", ".jinja"}


def inputs_of(config: Config, snapshot: str) -> Inputs:
    """Return the inputs of a run on the CSV with this sha256, without settings of source, retention and tracking."""
    counted = replace(config, source=SourceConfig(), retention=RetentionConfig(), tracking=TrackingConfig())
    suites = [_file_state(PROJECT / name) for name in (config.validate.raw_suite, config.validate.splits_suite)]
    return Inputs(
        snapshot=snapshot,
        config=config_digest(counted),
        suites=_digest_of("\n".join(suites)),
        code=code_version(),
    )


@cache
def code_version() -> str:
    """Return the sha256, in hex, of the names and contents of this package's files: a version without git."""
    package = Path(__file__).parent
    files = sorted(path for path in package.rglob("*") if path.suffix in _CODE_SUFFIXES)
    return _digest_of("\n".join(f"{path.relative_to(package).as_posix()} {file_digest(path)}" for path in files))


def _file_state(path: Path) -> str:
    return file_digest(path) if path.is_file() else "absent"  # the step validate reports it


def _digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
