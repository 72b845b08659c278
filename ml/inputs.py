"""What a candidate comes from, as digests: equal inputs mean that another run would do the same work again."""

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path

from ml.config import PROJECT, Config, RetentionConfig, SourceConfig, TrackingConfig, config_digest
from ml.records import Inputs
from ml.store.files import file_digest

_CODE_SUFFIXES = {".py", ".toml", ".jinja"}


def inputs_of(config: Config, snapshot: str) -> Inputs:
    """The inputs of a run on the CSV with that sha256; its source, retention and tracking do not count."""
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
    """Sha256, in hex, over the names and contents of this package's files: a version that needs no git."""
    package = Path(__file__).parent
    files = sorted(path for path in package.rglob("*") if path.suffix in _CODE_SUFFIXES)
    return _digest_of("\n".join(f"{path.relative_to(package).as_posix()} {file_digest(path)}" for path in files))


def _file_state(path: Path) -> str:
    return file_digest(path) if path.is_file() else "absent"  # which the step validate reports


def _digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
