"""A server on this machine that serves one file in one bucket as S3 and Google Cloud Storage do."""

import hashlib
import json
import time
from base64 import b64encode
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

BUCKET, KEY = "lake", "questions/train.csv"
FOLDER = "questions"
_GOOGLE = f"/storage/v1/b/{BUCKET}/o"
_S3_CODES = {400: "InvalidArgument", 403: "AccessDenied", 404: "NoSuchKey", 503: "ServiceUnavailable"}


class BucketServer(ThreadingHTTPServer):
    """Refuses with `status` if it is not 200; each number in `breaks` cuts off one answer after this many bytes.

    `ranges` collects the header Range of each request for the file, `credentials` the header Authorization of every
    request, `put` what was written, by key. The next `trouble` writes are refused with the status 503, each
    after `put_delay_seconds`.
    """

    daemon_threads = True

    def __init__(self, body, *, status=200, breaks=(), delay_seconds=0, address=("127.0.0.1", 0)):
        super().__init__(address, _Handler)
        self.body, self.status, self.breaks, self.delay_seconds = body, status, list(breaks), delay_seconds
        self.etag, self.after_first_read = "first", lambda: None
        self.md5 = hashlib.md5(body).digest()
        self.ranges, self.credentials = [], []
        self.put, self.trouble, self.put_delay_seconds = {}, 0, 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.credentials.append(self.headers.get("Authorization", ""))
        time.sleep(self.server.delay_seconds)
        with suppress(ConnectionError):  # the client may have closed the connection
            self._answer()

    do_HEAD = do_GET  # noqa: N815

    def do_PUT(self):
        if self.headers.get("Expect"):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        bucket, _, key = urlsplit(self.path).path.removeprefix("/").partition("/")
        self._take(bucket, unquote(key), self._content(), google=False)

    def do_POST(self):
        address = urlsplit(self.path)
        if address.path.startswith("/upload/storage/v1/b/"):
            name, body = uploaded(self.headers["Content-Type"], self._content())
            self._take(address.path.split("/")[5], name, body, google=True)
            return
        self._send(200, json.dumps({"access_token": "a-token", "expires_in": 3600, "token_type": "Bearer"}))

    def _content(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        return without_chunks(body) if "aws-chunked" in self.headers.get("Content-Encoding", "") else body

    def _take(self, bucket, key, body, *, google):
        time.sleep(self.server.put_delay_seconds)
        if bucket != BUCKET or self.server.status != 200:
            self._refuse(404 if bucket != BUCKET else self.server.status, google)
        elif self.server.trouble:
            self.server.trouble -= 1
            self._refuse(503, google)
        else:
            self.server.put[key] = body
            self._send(200, json.dumps(_described_as(key, len(body))) if google else "")

    def _answer_for_written(self, key, google):
        size = len(self.server.put[key])
        if google:
            self._send(200, json.dumps(_described_as(key, size)))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.send_header("ETag", '"written"')
        self.end_headers()

    def _answer(self):
        address = urlsplit(self.path)
        google = _GOOGLE in address.path
        key = unquote(address.path.rpartition(_GOOGLE if google else f"/{BUCKET}")[2]).removeprefix("/")
        if key in self.server.put:
            self._answer_for_written(key, google)
        elif self.server.status != 200:
            self._refuse(self.server.status, google)
        elif google:
            self._as_google(address.path.partition(_GOOGLE)[2], parse_qs(address.query))
        else:
            self._as_s3(address.path, parse_qs(address.query))

    def _as_s3(self, path, query):
        if path == f"/{BUCKET}/{KEY}":
            self._send_file()
        elif path.rstrip("/") == f"/{BUCKET}":
            found = int(KEY.startswith(query.get("prefix", [""])[0]))
            self._send(200, f"<ListBucketResult><KeyCount>{found}</KeyCount></ListBucketResult>")
        else:
            self._refuse(404, google=False)

    def _as_google(self, key, query):
        if not key:
            found = [_described(self.server)] if KEY.startswith(query.get("prefix", [""])[0]) else []
            self._send(200, json.dumps({"items": found}))
        elif key != "/" + quote(KEY, safe=""):
            self._refuse(404, google=True)
        elif query.get("alt") == ["media"]:
            self._send_file()
        else:
            self._send(200, json.dumps(_described(self.server)))

    def _refuse(self, status, google):
        if google:
            self._send(status, json.dumps({"error": {"code": status, "message": "refused"}}))
        else:
            self._send(status, f"<Error><Code>{_S3_CODES[status]}</Code></Error>")

    def _send_file(self):
        body, asked = self.server.body, self.headers.get("Range", "")
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first or 0), min(int(last or len(body)) + 1, len(body))
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", f'"{self.server.etag}"')
        self.end_headers()
        if self.command != "HEAD":
            self.server.ranges.append(asked)
            stop = self.server.breaks.pop(0) if self.server.breaks else end
            self.wfile.write(body[start:stop])
            self.server.after_first_read()
        self.close_connection = True

    def _send(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    def log_message(self, *_):
        """Say nothing."""


def _described_as(key, size):
    return {"name": key, "bucket": BUCKET, "size": str(size), "etag": "written"}


def uploaded(kind, body):
    """Return name and bytes of a Google upload in two parts: its description as JSON, and its content."""
    boundary = kind.partition("boundary=")[2].strip('"').encode()
    _, described, content, _ = body.split(b"--" + boundary, 3)
    return json.loads(described.partition(b"{")[1] + described.partition(b"{")[2])["name"], _part(content)


def _part(content):
    for blank in (b"\r\n\r\n", b"\n\n"):
        if blank in content:
            return content.partition(blank)[2].removesuffix(b"\r\n").removesuffix(b"\n")
    raise AssertionError("a part without a header")


def without_chunks(body):
    """Return the bytes of an upload in Amazon's chunks, each behind its length in hex."""
    taken = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if not length:
            return taken
        taken, body = taken + body[:length], body[length + 2 :]
    return taken


def _described(server):
    digest = {"md5Hash": b64encode(server.md5).decode()} if server.md5 else {}
    return {"name": KEY, "bucket": BUCKET, "size": str(len(server.body)), "etag": server.etag} | digest


def use_only_our_credentials(monkeypatch, home):
    """Let the clients of S3 and Google Cloud Storage find the test's credentials and no other, whoever runs it."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    settings = {
        "HOME": home,
        "CLOUDSDK_CONFIG": home,
        "AWS_ACCESS_KEY_ID": "the-user",
        "AWS_SECRET_ACCESS_KEY": "the-secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_GCE_CHECK": "true",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
