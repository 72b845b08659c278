"""The address of a source: its scheme, its local path, and the public form for records and logs."""

import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from ml.errors import ConfigError

SCHEMES = "a path, file:, http:, https:, kaggle:, s3:, gs:, or sample:ROWS"
_READABLE = {"file", "http", "https", "kaggle", "s3", "gs", "sample"}
_WHERE = "source.uri"


def scheme_of(uri: str) -> str:
    """Return the scheme of a URI, `file` for a plain path; raises ConfigError for an unknown scheme.

    The message names it only if `//` follows; otherwise it may be a user name, in an address without a scheme.
    """
    scheme, separator, rest = uri.partition(":")
    if not separator or "/" in scheme or len(scheme) == 1:
        return "file"
    if scheme not in _READABLE:
        named = f"scheme {scheme!r}" if rest.startswith("//") and re.fullmatch(r"[\w+.-]{1,20}", scheme) else "address"
        raise ConfigError(f"cannot read from the {named}", where=_WHERE, fix=f"use {SCHEMES}")
    return scheme


def local_path(uri: str) -> Path:
    """Return the path that `file:…` or a plain path names; `~` is the user's home. Raises ConfigError."""
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
    except ValueError:
        raise _malformed() from None
    except RuntimeError:
        raise ConfigError("there is no such user's home (~)", where=_WHERE, fix="write the whole path") from None


def public_address(uri: str) -> str:
    """Return the address without credentials, query and local folders; raises ConfigError if it is malformed."""
    scheme = scheme_of(uri)
    if scheme == "sample":
        return uri
    if scheme == "file":
        return f"file:{_without_credentials(local_path(uri).name)}"
    parts = _split(uri)
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _split(uri: str) -> SplitResult:
    """Split an address; raises ConfigError if it is malformed or ambiguous."""
    try:
        parts = urlsplit(uri)
        readable = parts.port != 0 and uri.isprintable() and " " not in parts.netloc
    except ValueError:
        readable = False
    if not readable:
        raise _malformed()
    return parts


def _malformed() -> ConfigError:
    fix = "check its spelling; write / and : of a password as %2F, %3A"
    return ConfigError("the address cannot be read", where=_WHERE, fix=fix)


def _without_credentials(name: str) -> str:
    """Return a file's name; if it is like `user:password@host`, an address without a scheme, return the host."""
    return re.sub(r".*:.*@", "", name).encode("utf-8", "replace").decode()
