"""A server on this machine that keeps objects as S3 and Google Cloud Storage do, and fails where a test wants it.

It answers the unmodified clients: conditional writes (If-None-Match, ifGenerationMatch), checksums of what is sent,
listings in pages.
"""

import asyncio
import hashlib
import json
import time
import zlib
from base64 import b64encode
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from types import SimpleNamespace
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

import gcsfs.retry
import s3fs

from ml.store.shared import bucket, lease
from tests.places import ADDRESSES
from tests.source.object_store_servers import uploaded, use_only_our_credentials, without_chunks
from tests.source.web import running

BUCKET, _, ROOT = ADDRESSES["s3"].removeprefix("s3://").partition("/")
_CODES = {400: "BadDigest", 403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed", 503: "ServiceUnavailable"}


class StateServer(ThreadingHTTPServer):
    """Has `objects` by key, each as its bytes and its time; `asked` collects method and key of every request.

    `fault(method, key)` returns the status with which a request is refused, the bytes after which its answer is cut
    off, negative, or 0. `before(method, key)` is called first. Where `lose_answer(key)`, what was taken is answered
    with 503. `damage` keys get one byte changed on their way here.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = Lock()
        self.reset()

    def reset(self):
        """Forget everything, and fail nowhere."""
        self.objects, self.asked, self.credentials = {}, [], []
        self.fault = self.before = lambda method, key: 0
        self.lose_answer = lambda key: False
        self.guarded, self.damage, self.page = True, [], 1000

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def keys(self, folder=""):
        """The keys below the state's prefix, without it."""
        return sorted(key.removeprefix(f"{ROOT}/") for key in self.objects if key.startswith(f"{ROOT}/{folder}"))

    def puts(self, folder=""):
        """What was written, in order, refused or not."""
        return [
            key.removeprefix(f"{ROOT}/")
            for method, key in self.asked
            if method == "PUT" and key.startswith(f"{ROOT}/{folder}")
        ]

    def lose_last(self, folder, ending):
        """Lose the last object of a folder with that ending."""
        del self.objects[f"{ROOT}/{[key for key in self.keys(folder) if key.endswith(ending)][-1]}"]

    def lose_all(self, folder):
        """Lose a folder."""
        for key in self.keys(folder):
            del self.objects[f"{ROOT}/{key}"]

    def age(self, seconds):
        """Let all have been written so long ago."""
        self.objects = {key: (content, then - seconds) for key, (content, then) in self.objects.items()}

    def take(self, key, content, *, absent):
        """Keep an object; say whether it was kept."""
        with self.lock:
            if absent and self.guarded and key in self.objects:
                return False
            self.objects[key] = content, time.time()
            return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query, keep_blank_values=True).items()}
        _, google, path = address.path.rpartition("/storage/v1/b/")
        bucket, _, rest = path.removeprefix("" if google else "/").partition("/")
        rest = unquote(rest)
        key = (rest.removeprefix("o").removeprefix("/")) if google else rest
        with suppress(ConnectionError):
            if self._refused(bucket, key, google):
                return
            if not key:
                self._list(query, google)
            elif self.command == "DELETE":
                gone = self.server.objects.pop(key, None)
                self._send(204 if gone or not google else 404)
            elif key not in self.server.objects:
                self._refuse(404, google)
            elif google and query.get("alt") != "media":
                self._send(200, json.dumps(_described(key, *self.server.objects[key])))
            else:
                self._send(200, self.server.objects[key][0], cut=self.server.fault("GET", key))

    do_HEAD = do_DELETE = do_GET  # noqa: N815

    def do_PUT(self):
        if self.headers.get("Expect"):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        bucket, _, key = urlsplit(self.path).path.removeprefix("/").partition("/")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key, content = unquote(key), without_chunks(body) if self._is_chunked() else body
        content = self._damaged(key, content)
        with suppress(ConnectionError):
            if self._refused(bucket, key, google=False):
                return
            if self._checksum(body) not in ("", b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()):
                self._refuse(400, google=False)
            elif self.server.take(key, content, absent=self.headers.get("If-None-Match") == "*"):
                self._send(503 if self.server.lose_answer(key) else 200)
            else:
                self._refuse(412, google=False)

    def do_POST(self):
        address = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not address.path.startswith("/upload/storage/v1/b/"):
            self._send(200, json.dumps({"access_token": "a-token", "expires_in": 3600, "token_type": "Bearer"}))
            return
        key, content = uploaded(self.headers["Content-Type"], body)
        self.command, content = "PUT", self._damaged(key, content)
        with suppress(ConnectionError):
            if self._refused(address.path.split("/")[5], key, google=True):
                return
            if self.server.take(key, content, absent="ifGenerationMatch=0" in address.query):
                self._send(200, json.dumps(_described(key, *self.server.objects[key])))
            else:
                self._refuse(412, google=True)

    def _damaged(self, key, content):
        if self.server.damage and key.endswith(self.server.damage[0]):
            self.server.damage.pop(0)
            return bytes([content[0] ^ 1]) + content[1:]
        return content

    def _is_chunked(self):
        return "aws-chunked" in self.headers.get("Content-Encoding", "")

    def _checksum(self, body):
        """The CRC32 that the client says its bytes have."""
        if self._is_chunked():
            _, _, trailer = body.rpartition(b"x-amz-checksum-crc32:")
            return trailer.decode().strip()
        return self.headers.get("x-amz-checksum-crc32", "")

    def _refused(self, bucket, key, google):
        self.server.asked.append((self.command, key))
        self.server.credentials.append(self.headers.get("Authorization", ""))
        self.server.before(self.command, key)
        status = self.server.fault(self.command, key)
        if bucket != BUCKET:
            self._refuse(404, google, code="NoSuchBucket")
        elif status > 0:
            self._refuse(status, google)
        return bucket != BUCKET or status > 0

    def _list(self, query, google):
        prefix = query.get("prefix", "")
        first = query.get("pageToken" if google else "continuation-token", "")
        with self.server.lock:
            found = sorted(key for key in self.server.objects if key.startswith(prefix) and key > first)
            page = [(key, *self.server.objects[key]) for key in found[: self.server.page]]
        more = len(found) > len(page)
        if google:
            token = {"nextPageToken": page[-1][0]} if more else {}
            listed = {"kind": "storage#objects", "items": [_described(*each) for each in page]}
            self._send(200, json.dumps(listed | token))
            return
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size>"
            f"<LastModified>{_moment(then)}</LastModified></Contents>"
            for key, content, then in page
        )
        token = f"<NextContinuationToken>{escape(page[-1][0])}</NextContinuationToken>" if more else ""
        self._send(
            200, f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}</ListBucketResult>"
        )

    def _refuse(self, status, google, code=""):
        if google:
            self._send(status, json.dumps({"error": {"code": status, "message": "refused"}}))
        else:
            self._send(status, f"<Error><Code>{code or _CODES[status]}</Code></Error>")

    def _send(self, status, content=b"", cut=0):
        body = content.encode() if isinstance(content, str) else content
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"any"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:-cut] if cut < 0 else body)
        self.close_connection = self.close_connection or cut < 0

    def log_message(self, *_):
        """Say nothing."""


def _described(key, content, then):
    return {
        "kind": "storage#object",
        "name": key,
        "bucket": BUCKET,
        "size": str(len(content)),
        "md5Hash": b64encode(hashlib.md5(content).digest()).decode(),
        "updated": _moment(then),
        "timeCreated": _moment(then),
        "selfLink": quote(key),
    }


def _moment(then):
    return datetime.fromtimestamp(then, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def point_at(server, monkeypatch):
    """Let the clients find a server, and be quick to give up."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


def change_state(server, before, after):
    """Edit the registry's last state."""
    key = f"{ROOT}/{[key for key in server.keys('registry/states/') if key.endswith('.json')][-1]}"
    content, then = server.objects[key]
    assert before in content
    server.objects[key] = content.replace(before, after), then


@contextmanager
def one_server_for_all():
    """Yield a server, and a client of it for each scheme: to make one takes longer than a test."""
    from ml.store.shared.client import open_client

    with running(StateServer()) as server:
        yield server, cache(lambda scheme, settings: open_client(scheme, **dict(settings)))


def quick_clients(server, client, monkeypatch, home):
    """Let this process ask the server by these clients, with the test's credentials, and wait for nothing."""
    server.reset()
    point_at(server, monkeypatch)
    use_only_our_credentials(monkeypatch, home)
    monkeypatch.setattr(bucket, "open_client", lambda uri, **settings: client(uri[:3], tuple(settings.items())))
    monkeypatch.setattr(bucket, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setattr(gcsfs.retry, "asyncio", SimpleNamespace(sleep=lambda _: asyncio.sleep(0)))
