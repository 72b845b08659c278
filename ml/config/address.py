"""The address of a source: its scheme, its local path, and the form in which records and logs may bear it."""

import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from ml.errors import ConfigError

SCHEMES = "a path, file:, http:, https:, kaggle:, s3:, gs:, or sample:ROWS"
_READABLE = {"file", "http", "https", "kaggle", "s3", "gs", "sample"}
_WHERE = "source.uri"


def scheme_of(uri: str) -> str:
    """`file` for a plain path; raises ConfigError for a scheme that cannot be read.

    A message names a scheme only where `//` follows: else it may be the user of a forgotten `https://`.
    """
    scheme, separator, rest = uri.partition(":")
    if not separator or "/" in scheme or len(scheme) == 1:
        return "file"
    if scheme not in _READABLE:
        named = f"scheme {scheme!r}" if rest.startswith("//") and re.fullmatch(r"[\w+.-]{1,20}", scheme) else "address"
        raise ConfigError(f"cannot read from the {named}", where=_WHERE, fix=f"use {SCHEMES}")
    return scheme


def local_path(uri: str) -> Path:
    """The path that `file:…` or a plain path names; `~` is the user's home. Raises ConfigError where there is none."""
    path = uri.removeprefix("file:")
    if uri.startswith("file://"):
        parts = _split(uri)
        if parts.netloc not in ("", "localhost"):
            raise ConfigError("the address names another machine", where=_WHERE, fix="write file:///PATH")
        return Path(unquote(parts.path))
    if not path.strip():
        raise ConfigError("the address is empty", where=_WHERE, fix=f"use {SCHEMES}")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError("there is no such user's home (~)", where=_WHERE, fix="write the whole path") from None


def public_address(uri: str) -> str:
    """The address without credentials, query and local folders; raises ConfigError where it cannot be read."""
    scheme = scheme_of(uri)
    if scheme == "sample":
        return uri
    if scheme == "file":
        return f"file:{_without_credentials(local_path(uri).name)}"
    parts = _split(uri)
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _split(uri: str) -> SplitResult:
    """The parts of an address; one that may be read in two ways is none."""
    try:
        parts = urlsplit(uri)
        readable = parts.port != 0 and uri.isprintable() and " " not in parts.netloc
    except ValueError:
        readable = False
    if not readable:
        raise ConfigError(
            "the address cannot be read",
            where=_WHERE,
            fix="check its spelling; write / and : of a password as %2F, %3A",
        )
    return parts


def _without_credentials(name: str) -> str:
    """A file's name; of `user:password@host`, which is an address that lacks its scheme, the host alone."""
    return re.sub(r".*:.*@", "", name).encode("utf-8", "replace").decode()
