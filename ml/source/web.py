"""Open a file over HTTP: read what a response promises of it, and refuse one that does not continue the file."""

import binascii
import hashlib
import logging
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import requests
import urllib3

from ml.config import SourceConfig
from ml.errors import ConfigError, DataError, raise_if_passing
from ml.source.download import CHUNK_BYTES, Body, BrokenOff, OpenFrom, OtherFile, Promise
from ml.source.other_formats import html_instead_of_csv
from ml.store.shared.certificates import check_certificate, no_certificates

logger = logging.getLogger(__name__)

_RETRIED_STATUS = {408, 425, 429}
_WHOLE = {requests.codes.ok, requests.codes.non_authoritative_info}
_RANGE = re.compile(r"bytes (?P<first>[0-9]{1,18})-(?P<last>[0-9]{1,18})/(?P<total>[0-9]{1,18})")
_LENGTH = re.compile(r"[0-9]{1,18}")
_UNREADABLE_CODINGS = {"br", "compress", "deflate", "zstd"}
# RFC 9530, RFC 3230 and Google Cloud Storage: the names of the digests' fields, and hashlib's names of the algorithms.
_DIGEST_FIELDS = ("Repr-Digest", "Content-Digest", "Digest", "X-Goog-Hash")
_ALGORITHMS = {"md5": "md5", "sha": "sha1", "sha-256": "sha256", "sha-512": "sha512"}


def open_http(address: Callable[[], str], config: SourceConfig, *, source: str) -> OpenFrom:
    """Return a function that opens a file over HTTP; each attempt calls `address`, since signed addresses expire.

    The headers Range and If-Range resume a download (RFC 9110, sections 13.1.5 and 14.2).
    """

    @contextmanager
    def open_from(start: int, promise: Promise) -> Iterator[Body]:
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": promise.version}
        with (
            transport_errors(source),
            _ask(address(), headers, config.timeout_seconds) as response,
        ):
            _check_response(response, start, source)
            yield _body(response, start, promise, source)

    return open_from


def _ask(address: str, headers: Mapping[str, str], timeout_seconds: float) -> requests.Response:
    try:
        return requests.get(address, headers=headers, stream=True, timeout=timeout_seconds)
    except requests.RequestException:
        raise
    except OSError as error:  # whose text bears the path
        raise_if_passing(error)
        raise no_certificates("REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE") from None


@contextmanager
def transport_errors(source: str) -> Iterator[None]:
    """Turn the errors of `requests` into our errors, without their texts, which contain the address and its query."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        check_certificate(error, source, variable="REQUESTS_CA_BUNDLE")
        raise BrokenOff("SSLError") from None
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise BrokenOff(type(error).__name__) from None
    except (requests.RequestException, urllib3.exceptions.LocationValueError) as error:
        raise _unusable(type(error).__name__) from None
    except urllib3.exceptions.HTTPError as error:
        raise BrokenOff(type(error).__name__) from None
    except ValueError as error:  # of urllib.parse and of the codec idna, for an address that the server redirects to
        raise _unusable(type(error).__name__) from None


def _unusable(name: str) -> ConfigError:
    fix = "check its spelling, and where it redirects to"
    return ConfigError(f"the address cannot be used ({name})", where="source.uri", fix=fix)


def _check_response(response: requests.Response, start: int, source: str) -> None:
    if start and response.status_code == requests.codes.requested_range_not_satisfiable:
        raise OtherFile("the file now ends before the byte that is missing")
    check_status(response.status_code, source)
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html":
        raise html_instead_of_csv(source)
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding in _UNREADABLE_CODINGS:
        fix = "let the server send the file as it is, or download it by hand and give its path"
        raise DataError(f"the server packs the file ({coding}) though it was asked not to", where=source, fix=fix)


def check_status(status: int, source: str) -> None:
    """Raise BrokenOff for an HTTP status that may go away, DataError for a permanent one."""
    if status >= 500 or status in _RETRIED_STATUS:  # noqa: PLR2004, the class of server errors
        raise BrokenOff(f"HTTP status {status}")
    if status not in {*_WHOLE, requests.codes.partial_content}:
        reason = {401: "needs a login", 403: "forbids access", 404: "has no such file"}.get(status, "refuses")
        raise DataError(
            f"the server {reason} (HTTP status {status})",
            where=source,
            fix="open the address in a browser: check its spelling, the access rights and the terms to accept",
        )


def _body(response: requests.Response, start: int, promise: Promise, source: str) -> Body:
    if response.status_code == requests.codes.partial_content:
        continued = _continued(response.headers, start, promise)
        return Body(start=start, promise=continued, chunks=_chunks(response, source))
    total = _length(response.headers)
    if total is None and not response.raw.chunked:
        logger.warning(
            "%s does not say how long the file is: a download that is cut off looks like a whole one", source
        )
    found = Promise(version=_version(response.headers), total_bytes=total, digests=_digests(response.headers))
    return Body(start=0, promise=found, chunks=_chunks(response, source))


def _continued(headers: Mapping[str, str], start: int, promise: Promise) -> Promise:
    """Return the promise of a partial response; raises OtherFile if it does not continue the file at `start`."""
    match = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if not match:
        raise OtherFile("the server sends a part of the file and does not say which")
    first, last, total = (int(match[name]) for name in ("first", "last", "total"))
    if first != start or not first <= last < total:
        raise OtherFile(f"the server sends the file from byte {first} on instead of {start}")
    if promise.total_bytes not in (None, total) or _length(headers) not in (None, last - first + 1):
        raise OtherFile("the server's file has another length than before")
    if promise.version and not _is_version(headers, promise.version):
        raise OtherFile("the server's file has changed")
    return replace(promise, version=promise.version or _version(headers), total_bytes=total)


def _is_version(headers: Mapping[str, str], version: str) -> bool:
    """Tell whether a part is of that version: it must repeat an ETag, but may omit Last-Modified (RFC 9110, 15.3.7)."""
    if version.startswith('"'):
        return headers.get("ETag", "") == version
    return headers.get("Last-Modified", version) == version


def _chunks(response: requests.Response, source: str) -> Iterator[bytes]:
    """Yield the bytes as they are sent, which length and digests are about; a gzip is unpacked later."""
    with transport_errors(source):
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
            yield chunk


def _length(headers: Mapping[str, str]) -> int | None:
    length = headers.get("Content-Length", "").strip()
    if length and not _LENGTH.fullmatch(length):
        raise BrokenOff("the server names a length that is no number")
    return int(length) if length else None


def _version(headers: Mapping[str, str]) -> str:
    etag = headers.get("ETag", "")
    return etag if etag.startswith('"') else headers.get("Last-Modified", "")


def _digests(headers: Mapping[str, str]) -> tuple[tuple[str, bytes], ...]:
    """Return the digests of the whole file; an ETag is none, even if it looks like one."""
    if "X-Goog-Stored-Content-Encoding" in headers and not _as_stored(headers):
        return ()
    items = [item.strip() for name in _DIGEST_FIELDS for item in headers.get(name, "").split(",")]
    items.append(f"md5={headers.get('Content-MD5', '')}")
    return tuple(digest for item in items for digest in _digest(item))


def _as_stored(headers: Mapping[str, str]) -> bool:
    """Tell whether Google Cloud Storage sends the stored bytes: it may unpack a gzip, but not its digest."""
    stored = headers["X-Goog-Stored-Content-Encoding"]
    return stored == headers.get("Content-Encoding", "identity")


def _digest(item: str) -> Iterator[tuple[str, bytes]]:
    """Yield the digest in `algorithm=base64` or `algorithm=:base64:`; nothing for another form or algorithm."""
    name, _, value = item.partition("=")
    algorithm = _ALGORITHMS.get(name.lower())
    try:
        digest = b64decode(value.strip().strip(":"), validate=True)
    except (binascii.Error, ValueError):
        return
    if algorithm and len(digest) == hashlib.new(algorithm, usedforsecurity=False).digest_size:
        yield algorithm, digest
