"""A server on this machine that serves one file in one bucket as S3 and Google Cloud Storage do."""

import hashlib
import json
import time
from base64 import b64encode
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

BUCKET, KEY = "lake", "questions/train.csv"
FOLDER = "questions"
_GOOGLE = f"/storage/v1/b/{BUCKET}/o"
_S3_CODES = {400: "InvalidArgument", 403: "AccessDenied", 404: "NoSuchKey", 503: "ServiceUnavailable"}


class BucketServer(ThreadingHTTPServer):
    """Refuses with `status` if it is not 200; each number in `breaks` cuts off one answer after this many bytes.

    `ranges` collects the header Range of each request for the file, `credentials` the header Authorization of every
    request.
    """

    daemon_threads = True

    def __init__(self, body, *, status=200, breaks=(), delay_seconds=0):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body, self.status, self.breaks, self.delay_seconds = body, status, list(breaks), delay_seconds
        self.etag, self.after_first_read = "first", lambda: None
        self.md5 = hashlib.md5(body).digest()
        self.ranges, self.credentials = [], []

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

    def do_POST(self):
        self._send(200, json.dumps({"access_token": "a-token", "expires_in": 3600, "token_type": "Bearer"}))

    def _answer(self):
        address = urlsplit(self.path)
        google = _GOOGLE in address.path
        if self.server.status != 200:
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


def _described(server):
    digest = {"md5Hash": b64encode(server.md5).decode()} if server.md5 else {}
    return {"name": KEY, "bucket": BUCKET, "size": str(len(server.body)), "etag": server.etag} | digest
