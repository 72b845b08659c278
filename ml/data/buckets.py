"""Files in object stores, `s3://` and `gs://`, through fsspec; credentials and endpoints as their clients find them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ml.data.download import CHUNK_BYTES, Body, BrokenOff, OpenFrom
from ml.errors import ConfigError, DataError


def open_bucket(uri: str, *, source: str) -> OpenFrom:
    """A file in a bucket, read from any byte on; its ETag tells whether it is still the same one."""
    import fsspec

    @contextmanager
    def open_from(start: int, version: str) -> Iterator[Body]:
        with _bucket_errors(source):
            files, path = fsspec.url_to_fs(uri, skip_instance_cache=True)
            details = files.info(path)
            current = str(details.get("ETag") or details.get("etag") or "")
            first = start if current == version else 0
            with files.open(path, "rb", block_size=CHUNK_BYTES * 16, cache_type="readahead") as file:
                file.seek(first)
                yield Body(
                    start=first, total_bytes=details["size"], version=current, chunks=iter(partial(_read, file), b"")
                )

    return open_from


def _read(file: Any) -> bytes:
    return bytes(file.read(CHUNK_BYTES))


@contextmanager
def _bucket_errors(source: str) -> Iterator[None]:
    """Turn what s3fs, gcsfs and their clients raise into our errors, without their texts: these may bear keys."""
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise DataError(
            "the bucket has no such file" if missing else "the bucket forbids access",
            where=source,
            fix="check the bucket, the key and the rights of the credentials",
        ) from None
    except (BrokenOff, DataError):
        raise
    except Exception as error:
        name = type(error).__name__
        if "Credential" in name or "RefreshError" in name:
            raise ConfigError(
                f"there are no usable credentials for the bucket ({name})",
                where="the environment",
                fix="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or GOOGLE_APPLICATION_CREDENTIALS",
            ) from None
        raise BrokenOff(name) from None
