"""Where a CSV can come from: one URI, one file."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ml.config import SourceConfig
from ml.data.buckets import open_bucket
from ml.data.download import OpenFrom, download, open_http
from ml.data.kaggle_files import kaggle_address
from ml.data.sample import write_sample
from ml.data.unpack import unpack
from ml.errors import ConfigError, DataError

_SAMPLE = re.compile(r"sample:(?P<rows>[0-9]{1,8})(:(?P<seed>[0-9]{1,9}))?")
_SAMPLE_SEED = 42
_SCHEMES = "a path, file:, http:, https:, kaggle:, s3:, gs:, or sample:ROWS"


def fetch(config: SourceConfig, folder: Path) -> Path:
    """The CSV that `config.uri` names, unpacked, as a file in `folder`."""
    target, source = folder / "rows.csv", describe(config.uri)
    scheme = _scheme(config.uri)
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


def describe(uri: str) -> str:
    """The URI as records and logs may bear it: without credentials, query and local folders."""
    scheme = _scheme(uri)
    if scheme == "sample":
        return uri
    if scheme == "file":
        return f"file:{_local_path(uri).name}"
    parts = urlsplit(uri)
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _scheme(uri: str) -> str:
    """`file` for a plain path; raises ConfigError for a scheme that we do not read."""
    scheme, separator, _ = uri.partition(":")
    if not separator or "/" in scheme or len(scheme) == 1:
        return "file"
    if scheme not in {"file", "http", "https", "kaggle", "s3", "gs", "sample"}:
        raise ConfigError(f"cannot read from the scheme {scheme!r}", where="source.uri", fix=f"use {_SCHEMES}")
    return scheme


def _sample_size(uri: str) -> tuple[int, int]:
    match = _SAMPLE.fullmatch(uri)
    if not match:
        raise ConfigError(f"{uri!r} names no sample", where="source.uri", fix="write sample:ROWS or sample:ROWS:SEED")
    return int(match["rows"]), int(match["seed"] or _SAMPLE_SEED)


def _local_path(uri: str) -> Path:
    if uri.startswith("file://"):
        return Path(unquote(urlsplit(uri).path))
    return Path(uri.removeprefix("file:")).expanduser()


def _local_file(uri: str) -> Path:
    path = _local_path(uri)
    if not path.is_file():
        raise DataError(
            "there is no such file" if not path.is_dir() else "this is a folder, not a file",
            where=describe(uri),
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
