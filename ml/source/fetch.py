"""Fetch the CSV that a URI names: it is generated, read from a local file, or downloaded."""

import re
from pathlib import Path

from ml.config import SourceConfig
from ml.config.address import local_path, public_address, scheme_of
from ml.errors import ConfigError, DataError
from ml.source.buckets import open_bucket
from ml.source.download import OpenFrom, download, open_http
from ml.source.kaggle_files import kaggle_address
from ml.source.sample import write_sample
from ml.source.unpack import unpack

_SAMPLE = re.compile(r"sample:(?P<rows>[0-9]{1,8})(:(?P<seed>[0-9]{1,9}))?")
_SAMPLE_SEED = 42


def fetch(config: SourceConfig, folder: Path) -> Path:
    """Write the CSV that `config.uri` names, unpacked, to a file in `folder`; return its path."""
    target, source = folder / "rows.csv", public_address(config.uri)
    scheme = scheme_of(config.uri)
    if scheme == "sample":
        write_sample(target, *_sample_size(config.uri))
        return target
    if scheme == "file":
        unpack(_local_file(config.uri), target, config, source=source)
        return target
    packed = folder / "packed"
    download(_opener(scheme, config, source), packed, config, source=source)
    unpack(packed, target, config, source=source)
    packed.unlink()
    return target


def _sample_size(uri: str) -> tuple[int, int]:
    match = _SAMPLE.fullmatch(uri)
    if not match:
        raise ConfigError(f"{uri!r} names no sample", where="source.uri", fix="write sample:ROWS or sample:ROWS:SEED")
    return int(match["rows"]), int(match["seed"] or _SAMPLE_SEED)


def _local_file(uri: str) -> Path:
    path = local_path(uri)
    if not path.is_file():
        raise DataError(
            "there is no such file" if not path.is_dir() else "this is a folder, not a file",
            where=public_address(uri),
            fix="check the path; a relative one starts at the folder that the command runs in",
        )
    return path


def _opener(scheme: str, config: SourceConfig, source: str) -> OpenFrom:
    if scheme in {"http", "https"}:
        return open_http(lambda: config.uri, config, source=source)
    if scheme in {"s3", "gs"}:
        return open_bucket(config, source=source)
    competition, file = _kaggle_names(config.uri)
    return open_http(kaggle_address(competition, file, config, source=source), config, source=source)


def _kaggle_names(uri: str) -> tuple[str, str]:
    match = re.fullmatch(r"kaggle://competitions/([\w.-]+)/([\w./-]+)", uri)
    if not match:
        raise ConfigError(
            "not an address of a competition's file",
            where="source.uri",
            fix="write kaggle://competitions/NAME/FILE.csv",
        )
    return match[1], match[2]
