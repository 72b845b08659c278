"""HTTP: who asks, what is to go wrong, and which part answers."""

import base64
import gzip
import json
import re
import socket
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit

from tests.wandb_server.graphql import OPERATIONS
from tests.wandb_server.state import Place, Refused

_OPERATION = re.compile(r"^\s*(?:query|mutation)\s+(\w+)", re.MULTILINE)


class Handler(BaseHTTPRequestHandler):
    """POST /graphql and a run's file_stream; PUT and GET of bytes in storage."""

    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self):
        body = self._body()
        if urlsplit(self.path).path == "/graphql":
            request = json.loads(body)
            name = request.get("operationName") or _OPERATION.search(request["query"])[1]
            variables = request.get("variables") or {}
            flat = {**variables, **(variables.get("input") or {})}
            self._attempt(name, lambda: self._graphql(name, flat), signed=False)
        elif self.path.endswith("/file_stream"):
            _, _, entity, project, run, _ = map(unquote, urlsplit(self.path).path.split("/"))
            place, message = Place(entity, project, run), json.loads(body)
            self._attempt("file_stream", lambda: self._stream(place, message), signed=False)
        else:
            self.server.unknown.append(self.path)
            self._attempt(self.path, lambda: self._refuse(404, "unknown"), signed=True)

    def do_PUT(self):
        self._attempt("upload", self._upload, signed=True)

    def do_GET(self):
        self._attempt("download", self._download, signed=True)

    def _attempt(self, name, answer, *, signed):
        """Answer, or fail as the server was told to; an address of storage is signed and needs no key."""
        server = self.server
        with server.state.lock:
            server.requests.append(name)
        self._fault = server.faults.next(name)
        time.sleep(self._fault.delay_seconds)
        with suppress(ConnectionError):  # a client may have given up
            if not signed and not self._has_key():
                self._refuse(401, "invalid api key")
            elif self._fault.status != 200:
                self._body()
                self._refuse(self._fault.status, "told to fail")
            else:
                answer()

    def _has_key(self):
        expected = base64.b64encode(f"api:{self.server.key}".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {expected}"

    def _graphql(self, name, variables):
        if self._fault.message:
            return self._errors(self._fault.message)
        if name not in OPERATIONS:
            self.server.unknown.append(name)
            return self._errors(f"unknown operation {name}")
        state = self.server.state
        with state.lock:
            act = self.server.faults.before.pop(name, None)
            if act:
                act(state)
            try:
                data = OPERATIONS[name](state, variables)
            except Refused as refusal:
                return self._errors(str(refusal))
            except Exception as error:  # a dropped connection would make the client try again for minutes
                self.server.unknown.append(f"{name}: {error!r}")
                return self._errors(f"{name} is not as this server knows it")
        return self._send(json.dumps({"data": data}).encode())

    def _errors(self, message):
        self._send(json.dumps({"data": None, "errors": [{"message": message}]}).encode())

    def _stream(self, place, message):
        with self.server.state.lock:
            self.server.state.stream(place, message)
        self._send(b"{}")

    def _upload(self):
        if self._fault.cut:
            self.rfile.read(int(self.headers["Content-Length"]) // 2)
            return self._hang_up()
        content, state = self._body(), self.server.state
        _, kind, *rest = map(unquote, urlsplit(self.path).path.split("/"))
        with state.lock:
            try:
                _KEEPERS[kind](state, rest, content)
            except Refused as refusal:
                return self._refuse(400, str(refusal))
        return self._send(b"")

    def _download(self):
        state = self.server.state
        _, kind, *rest = map(unquote, urlsplit(self.path).path.split("/"))
        with state.lock:
            content = _FINDERS[kind](state, rest)
        if content is None:
            self._refuse(404, "there is no such file")
        else:
            self._send(content, kind="application/octet-stream")

    def _refuse(self, status, message):
        self._send(json.dumps({"errors": [{"message": message}]}).encode(), status=status)

    def _send(self, content, *, status=200, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self._fault.cut:
            self.wfile.write(content[: len(content) // 2])
            self._hang_up()
        else:
            self.wfile.write(content)

    def _hang_up(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _body(self):
        """All that was sent; nothing the second time."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b"".join(iter(self._chunk, b""))
        else:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        compressed = self.headers.get("Content-Encoding") == "gzip" and content
        del self.headers["Content-Length"], self.headers["Transfer-Encoding"]
        return gzip.decompress(content) if compressed else content

    def _chunk(self):
        content = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return content

    def log_message(self, *_):
        """Say nothing."""


def _keep_blob(state, where, content):
    state.keep_blob(where[0], content)


def _keep_manifest(state, where, content):
    state.artifacts[where[0]].manifest = content


def _keep_run_file(state, where, content):
    entity, project, run, *path = where
    state.runs[Place(entity, project, run)].files["/".join(path)] = content


def _find_run_file(state, where):
    entity, project, run, *path = where
    return state.runs[Place(entity, project, run)].files.get("/".join(path))


_KEEPERS = {"blob": _keep_blob, "manifest": _keep_manifest, "run": _keep_run_file}
_FINDERS = {
    "blob": lambda state, where: state.blobs.get(where[0]),
    "manifest": lambda state, where: state.artifacts[where[0]].manifest,
    "run": _find_run_file,
}
