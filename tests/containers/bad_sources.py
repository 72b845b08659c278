"""Serve a CSV over HTTP and as S3 does, badly as asked for: python -m tests.containers.bad_sources CSV.

A POST to http://sources:8000/TROUBLE says how both behave from then on; any other word is no trouble.
It runs in a container of the stack.
"""

import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.source.object_store_servers import BucketServer

HTTP_TROUBLES = ("changes", "drips", "lies")
BUCKET_TROUBLES = ("cut off", "refuses", "slow")
_FAR_TOO_LONG_SECONDS = 3600
_NO_BODY = 204


class _Sources(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, body: bytes, bucket: BucketServer) -> None:
        super().__init__(("", 8000), _Handler)
        self.body, self.bucket, self.trouble, self.answers = body, bucket, "", 0

    def behave(self, trouble: str) -> None:
        self.trouble = trouble
        self.bucket.status = 403 if trouble == "refuses" else 200
        self.bucket.delay_seconds = _FAR_TOO_LONG_SECONDS if trouble == "slow" else 0
        self.bucket.breaks = [len(self.body) // 2] * 1000 if trouble == "cut off" else []


class _Handler(BaseHTTPRequestHandler):
    server: _Sources

    def do_POST(self) -> None:
        self.server.behave(self.path.removeprefix("/").replace("-", " "))
        self.send_response(_NO_BODY)
        self.end_headers()

    def do_GET(self) -> None:
        body, trouble = self.server.body, self.server.trouble
        self.server.answers += 1
        self.send_response(200)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(body) + 1000 * (trouble == "lies")))
        self.send_header("ETag", f'"{self.server.answers if trouble == "changes" else "same"}"')
        self.end_headers()
        with suppress(ConnectionError):  # the client gives up
            self._send(body, trouble)
        self.close_connection = True

    def _send(self, body: bytes, trouble: str) -> None:
        if trouble == "drips":
            for place in range(len(body)):
                self.wfile.write(body[place : place + 1])
                time.sleep(0.1)
        else:
            self.wfile.write(body[: len(body) // 2] if trouble == "changes" else body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _serve(csv: Path) -> None:
    while not csv.is_file():  # it is copied after the start
        time.sleep(1)
    bucket = BucketServer(csv.read_bytes(), address=("", 9000))
    Thread(target=bucket.serve_forever, daemon=True).start()
    _Sources(csv.read_bytes(), bucket).serve_forever()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
