"""Fetch the CSV that a URI names: it is generated, read from a local file, or downloaded."""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml.config import SourceConfig
from ml.config.source_address import local_path, public_address, scheme_of
from ml.errors import ConfigError, DataError, SourceUnavailable, raise_if_passing
from ml.source.download import OpenFrom, download
from ml.source.kaggle import kaggle_address
from ml.source.object_stores import open_bucket
from ml.source.sample import write_sample
from ml.source.unpack import unpack
from ml.source.web import open_http

_SAMPLE = re.compile(r"sample:(?P<rows>[1-9][0-9]{0,7})(:(?P<seed>[0-9]{1,9}))?")
_SAMPLE_SEED = 42


def fetch(config: SourceConfig, folder: Path) -> Path:
    """Write the CSV that `config.uri` names, unpacked, to a file in `folder`; return its path."""
    target, source = folder / "rows.csv", public_address(config.uri)
    scheme = scheme_of(config.uri)
    if scheme == "sample":
        write_sample(target, *_sample_size(config.uri))
        return target
    if scheme == "file":
        path = _local_file(config.uri)
        with _unchanged(path, source):
            unpack(path, target, config, source=source)
        return target
    packed = folder / "packed"
    download(_opener(scheme, config, source), packed, config, source=source)
    unpack(packed, target, config, source=source)
    packed.unlink()
    return target


def _sample_size(uri: str) -> tuple[int, int]:
    match = _SAMPLE.fullmatch(uri)
    if not match:
        raise ConfigError(
            "the address names no sample", where="source.uri", fix="write sample:ROWS or sample:ROWS:SEED"
        )
    return int(match["rows"]), int(match["seed"] or _SAMPLE_SEED)


def _local_file(uri: str) -> Path:
    path = local_path(uri)
    try:
        mode = path.stat().st_mode
        what = "this is a folder, not a file" if stat.S_ISDIR(mode) else "this is no regular file"
        if stat.S_ISREG(mode) and os.access(path, os.R_OK):
            return path
        if stat.S_ISREG(mode):
            what = "the file may not be read by this user"
    except (FileNotFoundError, NotADirectoryError):
        what = "there is no such file"
    except (OSError, ValueError) as error:
        raise_if_passing(error)
        what = f"the file cannot be reached ({getattr(error, 'strerror', None) or type(error).__name__})"
    raise DataError(
        what,
        where=public_address(uri),
        fix="check the path and its rights; a relative one starts at the folder that the command runs in",
    )


@contextmanager
def _unchanged(path: Path, source: str) -> Iterator[None]:
    """Raise SourceUnavailable if the file changes inside the `with` block, even if the block raises another error."""
    before = _state(path)
    try:
        yield
    finally:
        if _state(path) != before:
            raise SourceUnavailable(
                "the file changed while it was read",
                where=source,
                fix="try again once it is written; let a writer write beside it and rename",
            )


def _state(path: Path) -> tuple[int, ...]:
    try:
        now = path.stat()
    except OSError:
        return ()
    return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns


def _opener(scheme: str, config: SourceConfig, source: str) -> OpenFrom:
    if scheme in {"http", "https"}:
        return open_http(lambda: config.uri, config, source=source)
    if scheme in {"s3", "gs"}:
        _check_bucket(config.uri)
        return open_bucket(config, source=source)
    competition, file = _kaggle_names(config.uri)
    return open_http(kaggle_address(competition, file, config, source=source), config, source=source)


def _check_bucket(uri: str) -> None:
    if not re.fullmatch(r"[a-z0-9]+://[^/]+/.*[^/]", uri):
        raise ConfigError(
            "not an address of a bucket's file",
            where="source.uri",
            fix="write s3://BUCKET/FILE.csv or gs://BUCKET/FILE.csv",
        )


def _kaggle_names(uri: str) -> tuple[str, str]:
    match = re.fullmatch(r"kaggle://competitions/([\w.-]+)/([\w./-]+)", uri)
    if not match:
        raise ConfigError(
            "not an address of a competition's file",
            where="source.uri",
            fix="write kaggle://competitions/NAME/FILE.csv",
        )
    return match[1], match[2]
