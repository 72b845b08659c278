"""Clients of S3 and Google Cloud Storage through fsspec, and what their errors mean.

The clients find credentials and endpoints. Their texts may contain keys, so none of them is repeated.
"""

import errno
import logging
from typing import Any, Literal

from ml.store.shared.certificates import causes, check_certificate

Meaning = Literal["exists", "absent", "no bucket", "no credentials", "forbids access", "refuses the request", "passes"]

_STATUS: dict[int, Meaning] = {400: "refuses the request", 401: "no credentials", 412: "exists"}
# A body that was damaged on its way.
_DAMAGED = {"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "IncompleteBody", "RequestTimeout"}
_NO_BUCKET = "NoSuchBucket"
_NOT_ALLOWED = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired"}


def open_client(uri: str, *, timeout_seconds: float, anonymous: bool = False, **settings: Any) -> Any:
    """Return a new client: one from fsspec's cache would keep its first answers and its first credentials."""
    if uri.startswith("s3:"):
        from s3fs import S3FileSystem

        timeouts = {"connect_timeout": timeout_seconds, "read_timeout": timeout_seconds}
        return S3FileSystem(skip_instance_cache=True, config_kwargs=timeouts, anon=anonymous, **settings)
    from aiohttp import ClientTimeout

    # gcsfs.GCSFileSystem would ask every bucket over gRPC, with other credentials, whether it is a zonal one.
    from gcsfs.core import GCSFileSystem

    # gcsfs logs a traceback of each error that it raises; our own error says what to do.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    timeout = ClientTimeout(sock_connect=timeout_seconds, sock_read=timeout_seconds)
    token = "anon" if anonymous else None
    return GCSFileSystem(skip_instance_cache=True, requests_timeout=timeout, token=token, **settings)


def meaning_of(error: Exception, source: str) -> Meaning:
    """Say what an error of a client means; raises ConfigError if the server's certificate is not trusted."""
    check_certificate(error, source, variable="AWS_CA_BUNDLE, or SSL_CERT_FILE for gs://,")
    status, code = _answer(error)
    if code in _DAMAGED:
        return "passes"
    if code == _NO_BUCKET:
        return "no bucket"
    if code in _NOT_ALLOWED:
        return "forbids access"
    return _STATUS[status] if status in _STATUS else _by_kind(error)


def _by_kind(error: Exception) -> Meaning:
    if "Credential" in type(error).__name__:
        return "no credentials"
    if isinstance(error, FileExistsError):
        return "exists"
    if isinstance(error, FileNotFoundError):
        return "absent"
    # gcsfs has no error type for status 403; only this text tells it.
    if isinstance(error, PermissionError) or (isinstance(error, OSError) and str(error).startswith("Forbidden")):
        return "forbids access"
    if isinstance(error, ValueError) or getattr(error, "errno", None) == errno.EINVAL:
        return "refuses the request"
    return "passes"


def _answer(error: Exception) -> tuple[int, str]:
    """Return HTTP status and code of the server's answer; 0 and "" for what only the client says."""
    for cause in causes(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):  # botocore's
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return int(status), str(response.get("Error", {}).get("Code", ""))
    code = getattr(error, "code", 0)  # of gcsfs's HttpError
    return (code, "") if isinstance(code, int) else (0, "")
