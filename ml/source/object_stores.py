"""Read and write files in object stores (`s3://`, `gs://`) through fsspec.

Its clients find credentials and endpoints.
"""

from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml.config import SourceConfig
from ml.errors import ConfigError, DataError, SincereError
from ml.source.download import CHUNK_BYTES, Body, BrokenOff, OpenFrom, OtherFile, Promise
from ml.store.shared.client import meaning_of, open_client

_BLOCK_BYTES = CHUNK_BYTES * 16
_REFUSALS = {each: each for each in ("forbids access", "refuses the request")}


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
    return open_client(uri, timeout_seconds=config.timeout_seconds, anonymous=config.anonymous)


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
        name, meaning = type(error).__name__, meaning_of(error, source)
        if meaning == "no credentials":
            raise ConfigError(
                f"there are no usable credentials for the bucket ({name})",
                where="the environment",
                fix="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or GOOGLE_APPLICATION_CREDENTIALS; "
                "for a public bucket source.anonymous = true",
            ) from None
        if meaning != "passes":
            fix = "check the bucket, the key and the rights of the credentials"
            raise DataError(f"the bucket {_REFUSALS.get(meaning, absent)}", where=source, fix=fix) from None
        raise BrokenOff(name) from None
