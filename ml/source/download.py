"""Download a file in chunks, with a size limit; a broken download is retried with back-off, and resumed."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from ml.config import SourceConfig
from ml.errors import ConfigError, DataError, SourceUnavailable
from ml.progress import progress

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 18
FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_RETRIED_STATUS = {408, 425, 429}


@dataclass(frozen=True, kw_only=True)
class Body:
    """What a server sends from byte `start` on; `version` is "" if the server does not tell if the file changes."""

    start: int
    total_bytes: int | None
    version: str
    chunks: Iterator[bytes]


# Opens a file at a byte, if the file still has the given version; otherwise the body starts at byte 0.
OpenFrom = Callable[[int, str], AbstractContextManager[Body]]


class BrokenOff(Exception):
    """The transfer failed, but another attempt may succeed; the text of this error contains no address."""


def download(open_from: OpenFrom, target: Path, config: SourceConfig, *, source: str) -> None:
    """Download to `target`; raises SourceUnavailable if all `config.attempts` broke off, DataError above the limit."""
    target.touch()
    version = ""
    for attempt in range(1, config.attempts + 1):
        start = target.stat().st_size if version else 0
        try:
            with open_from(start, version) as body:
                version = body.version
                _receive(body, target, config.max_bytes, source)
            return
        except BrokenOff as error:
            logger.warning("attempt %d of %d at %s: %s", attempt, config.attempts, source, error)
            reason = str(error)
        if attempt < config.attempts:
            time.sleep(min(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1), _LONGEST_PAUSE_SECONDS))
    raise SourceUnavailable(
        f"the source did not give the whole file in {config.attempts} attempts; at last: {reason}",
        where=source,
        fix="try again later, or download the file by hand and give its path",
    )


def check_size(received: int, limit: int, source: str) -> None:
    """Raise DataError if more bytes were received than `source.max_bytes` allows."""
    if received > limit:
        raise DataError(
            f"the file is larger than {limit} bytes",
            where=source,
            fix="check that this is the right file; if so, raise source.max_bytes",
        )


def _receive(body: Body, target: Path, limit: int, source: str) -> None:
    check_size(body.total_bytes or 0, limit, source)
    received = body.start
    with target.open("r+b") as file, progress("download", body.total_bytes, "B", scaled=True) as bar:
        file.truncate(body.start)
        file.seek(body.start)
        bar.update(body.start)
        for chunk in body.chunks:
            received += len(chunk)
            check_size(received, limit, source)
            file.write(chunk)
            bar.update(len(chunk))
    if body.total_bytes is not None and received < body.total_bytes:
        raise BrokenOff(f"the connection ended at byte {received} of {body.total_bytes}")


def open_http(address: Callable[[], str], config: SourceConfig, *, source: str) -> OpenFrom:
    """Return a function that opens a file over HTTP; each attempt calls `address`, since signed addresses expire.

    The headers Range and If-Range resume a download (RFC 9110, sections 13.1.5 and 14.2).
    """

    @contextmanager
    def open_from(start: int, version: str) -> Iterator[Body]:
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": version}
        with (
            transport_errors(source),
            requests.get(address(), headers=headers, stream=True, timeout=config.timeout_seconds) as response,
        ):
            _check_response(response, source)
            yield _body(response, start)

    return open_from


@contextmanager
def transport_errors(source: str) -> Iterator[None]:
    """Turn the errors of `requests` into our errors, without their texts, which contain the address and its query."""
    try:
        yield
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise BrokenOff(type(error).__name__) from None
    except requests.RequestException as error:
        raise ConfigError(
            f"the address cannot be used ({type(error).__name__})", where="source.uri", fix="check its spelling"
        ) from None


def _check_response(response: requests.Response, source: str) -> None:
    check_status(response.status_code, source)
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html":
        raise html_instead_of_csv(source)


def check_status(status: int, source: str) -> None:
    """Raise BrokenOff for an HTTP status that may go away, DataError for a permanent one."""
    if status >= 500 or status in _RETRIED_STATUS:  # noqa: PLR2004, the class of server errors
        raise BrokenOff(f"HTTP status {status}")
    if status >= 400:  # noqa: PLR2004, the class of client errors
        reason = {401: "needs a login", 403: "forbids access", 404: "has no such file"}.get(status, "refuses")
        raise DataError(
            f"the server {reason} (HTTP status {status})",
            where=source,
            fix="open the address in a browser: check its spelling, the access rights and the terms to accept",
        )


def html_instead_of_csv(source: str) -> DataError:
    """Return the error for a web page that came instead of the file."""
    return DataError(
        "a web page (HTML) came instead of a CSV",
        where=source,
        fix="give the address of the file itself, not of the page about it; a login page also looks like this",
    )


def _body(response: requests.Response, start: int) -> Body:
    resumed = response.status_code == requests.codes.partial_content
    remaining = response.headers.get("Content-Length", "")
    first = start if resumed else 0
    return Body(
        start=first,
        total_bytes=first + int(remaining) if remaining.isdigit() else None,
        version=_version(response),
        chunks=response.iter_content(CHUNK_BYTES),
    )


def _version(response: requests.Response) -> str:
    etag = response.headers.get("ETag", "")
    weak = not etag or etag.startswith("W/")
    return response.headers.get("Last-Modified", "") if weak else etag
