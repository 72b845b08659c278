"""The address of a source: its scheme, its local path, and the public form for records and logs."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from ml.errors import ConfigError

SCHEMES = "a path, file:, http:, https:, kaggle:, s3:, gs:, or sample:ROWS"


def scheme_of(uri: str) -> str:
    """Return the scheme of a URI, `file` for a plain path; raises ConfigError for an unknown scheme."""
    scheme, separator, _ = uri.partition(":")
    if not separator or "/" in scheme or len(scheme) == 1:
        return "file"
    if scheme not in {"file", "http", "https", "kaggle", "s3", "gs", "sample"}:
        raise ConfigError(f"cannot read from the scheme {scheme!r}", where="source.uri", fix=f"use {SCHEMES}")
    return scheme


def local_path(uri: str) -> Path:
    """Return the path that `file:…` or a plain path names; `~` is the user's home."""
    if uri.startswith("file://"):
        return Path(unquote(urlsplit(uri).path))
    return Path(uri.removeprefix("file:")).expanduser()


def public_address(uri: str) -> str:
    """Return the address without credentials, query and local folders."""
    scheme = scheme_of(uri)
    if scheme == "sample":
        return uri
    if scheme == "file":
        return f"file:{local_path(uri).name}"
    parts = urlsplit(uri)
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
