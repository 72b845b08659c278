"""Read and write files in object stores (`s3://`, `gs://`) through fsspec.

Its clients find credentials and endpoints.
"""

import errno
import logging
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml.config import SourceConfig
from ml.errors import ConfigError, DataError, SincereError
from ml.source.download import CHUNK_BYTES, Body, BrokenOff, OpenFrom, OtherFile, Promise
from ml.source.web import check_certificate

_BLOCK_BYTES = CHUNK_BYTES * 16


def open_bucket(config: SourceConfig, *, source: str) -> OpenFrom:
    """Return a function that opens the file `config.uri` at any byte; the ETag tells whether the file has changed."""

    @contextmanager
    def open_from(start: int, promise: Promise) -> Iterator[Body]:
        with _bucket_errors(source):
            files = _file_system(config.uri, config)
            current = _promise(files, config.uri, source)
            file = files.open(config.uri, "rb", block_size=_BLOCK_BYTES, cache_type="readahead")
        first = start if current == promise else 0
        file.seek(first)
        with file:
            yield Body(start=first, promise=current, chunks=_chunks(file, source))
        with _bucket_errors(source):
            if _promise(_file_system(config.uri, config), config.uri, source) != current:
                raise OtherFile("the bucket's file changed while it was read")

    return open_from


def put_in_bucket(file: Path, uri: str, config: SourceConfig, *, place: str) -> None:
    """Write a file to a bucket; object stores show it once it is whole. `place` is the address for messages.

    Raises BrokenOff if another attempt may succeed, DataError or ConfigError if not.
    """
    with _bucket_errors(place, absent="does not exist"):
        files = _file_system(uri, replace(config, anonymous=False))
        files.put_file(str(file), uri)
        if files.info(uri)["size"] != file.stat().st_size:
            raise BrokenOff("the bucket has not the whole file")


def _file_system(uri: str, config: SourceConfig) -> Any:
    """Return a new client: one from fsspec's cache would keep its first answers and its first credentials."""
    if uri.startswith("s3:"):
        from s3fs import S3FileSystem

        timeouts = {"connect_timeout": config.timeout_seconds, "read_timeout": config.timeout_seconds}
        return S3FileSystem(skip_instance_cache=True, config_kwargs=timeouts, anon=config.anonymous)
    from aiohttp import ClientTimeout

    # gcsfs.GCSFileSystem would ask every bucket over gRPC, with other credentials, whether it is a zonal one.
    from gcsfs.core import GCSFileSystem

    # gcsfs logs a traceback of each error that it raises; our own error says what to do.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    timeout = ClientTimeout(sock_connect=config.timeout_seconds, sock_read=config.timeout_seconds)
    token = "anon" if config.anonymous else None
    return GCSFileSystem(skip_instance_cache=True, requests_timeout=timeout, token=token)


def _chunks(file: Any, source: str) -> Iterator[bytes]:
    while True:
        with _bucket_errors(source):
            chunk = bytes(file.read(CHUNK_BYTES))
        if not chunk:
            return
        yield chunk


def _promise(files: Any, uri: str, source: str) -> Promise:
    """Return what the bucket tells about the file; Google's MD5 is a digest of its bytes, S3's ETag need not be one."""
    details = files.info(uri)
    if details["type"] != "file":
        raise DataError("this is a folder of the bucket, not a file", where=source, fix="name one file in it")
    digests = (("md5", b64decode(details["md5Hash"])),) if "md5Hash" in details else ()
    version = str(details.get("ETag") or details.get("etag") or "")
    return Promise(version=version, total_bytes=details["size"], digests=digests)


@contextmanager
def _bucket_errors(source: str, *, absent: str = "has no such file") -> Iterator[None]:
    """Turn the errors of s3fs, gcsfs and their clients into our errors, without their texts, which may contain keys."""
    try:
        yield
    except (SincereError, BrokenOff):
        raise
    except Exception as error:
        check_certificate(error, source, variable="AWS_CA_BUNDLE, or SSL_CERT_FILE for gs://,")
        name = type(error).__name__
        if "Credential" in name or _status(error) == 401:  # noqa: PLR2004
            raise ConfigError(
                f"there are no usable credentials for the bucket ({name})",
                where="the environment",
                fix="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or GOOGLE_APPLICATION_CREDENTIALS; "
                "for a public bucket source.anonymous = true",
            ) from None
        if refusal := _refusal(error, absent):
            fix = "check the bucket, the key and the rights of the credentials"
            raise DataError(f"the bucket {refusal}", where=source, fix=fix) from None
        raise BrokenOff(name) from None


def _refusal(error: Exception, absent: str) -> str:
    """Say why the bucket will refuse the same request again; "" if another attempt may succeed."""
    if isinstance(error, FileNotFoundError):
        return absent
    # gcsfs has no error type for status 403; only this text tells it.
    if isinstance(error, PermissionError) or (isinstance(error, OSError) and str(error).startswith("Forbidden")):
        return "forbids access"
    if isinstance(error, ValueError) or getattr(error, "errno", None) == errno.EINVAL or _status(error) == 400:  # noqa: PLR2004
        return "refuses the request"
    return ""


def _status(error: Exception) -> int:
    """Return the HTTP status of gcsfs's HttpError; 0 for errors without one."""
    code = getattr(error, "code", 0)
    return code if isinstance(code, int) else 0
