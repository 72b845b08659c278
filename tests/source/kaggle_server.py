"""A server on this machine that answers as Kaggle's API does: it redirects to a signed address in a bucket."""

import json
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class KaggleServer(ThreadingHTTPServer):
    """Redirects to `address`, or refuses with `status`; with `in_body` as a code in JSON, under HTTP status 200.

    `asked` collects path and content of every request, `headers` the headers of every request.
    """

    daemon_threads = True

    def __init__(self, address="", *, status=302, in_body=False, delay_seconds=0):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address, self.status, self.in_body, self.delay_seconds = address, status, in_body, delay_seconds
        self.asked, self.headers = [], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        kaggle = self.server
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kaggle.asked.append((self.path, content))
        kaggle.headers.append(dict(self.headers))
        time.sleep(kaggle.delay_seconds)
        with suppress(ConnectionError):  # the client may have closed the connection
            if self.path.endswith("GenerateAccessToken"):
                self._renew()
            else:
                self._answer(kaggle)

    def _renew(self):
        content = json.dumps({"token": "renewed", "expiresIn": 3600}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, kaggle):
        content = b"" if kaggle.status == 302 else json.dumps({"code": kaggle.status, "message": "refused"}).encode()
        self.send_response(200 if kaggle.in_body else kaggle.status)
        self.send_header("Content-Length", str(len(content)))
        if kaggle.status == 302:
            self.send_header("Location", kaggle.address)
        else:
            self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Say nothing."""
