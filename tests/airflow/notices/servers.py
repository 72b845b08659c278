"""Servers on this machine that take notices: a webhook and SMTP, for the unmodified client Apprise."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "T0KEN-of-the-channel"  # no word that anything else would say
PASSWORD = "pass-of-the-channel"


@dataclass
class Webhook:
    """What was posted, oldest first; with a `status` that refuses, or a server that stays `silent`."""

    port: int = 0
    status: int = 200
    posted: list[dict[str, Any]] = field(default_factory=list)
    end: threading.Event = field(default_factory=threading.Event)
    silent: bool = False

    @property
    def address(self) -> str:
        """Apprise's address, with secrets where services have them."""
        return f"json://user:{PASSWORD}@127.0.0.1:{self.port}/services/{SECRET}"

    @property
    def titles(self) -> list[str]:
        return [each["title"] for each in self.posted]


def connection(address: Any) -> str:
    """A connection of the type Apprise as a variable of the environment has it."""
    config = address if isinstance(address, list) else {"path": address}
    return json.dumps({"conn_type": "apprise", "extra": {"config": config}})


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Take posts until the context ends."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if hook.silent:
                hook.end.wait()
            self.send_response(hook.status)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        hook.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield hook
        hook.end.set()
        server.shutdown()
        thread.join()


@contextmanager
def mail_server() -> Iterator[tuple[str, list[Message]]]:
    """Take mails until the context ends; yields Apprise's address and the mails."""
    from aiosmtpd.controller import Controller
    from aiosmtpd.handlers import Message as MessageHandler

    class Handler(MessageHandler):
        def handle_message(self, message: Message) -> None:
            mails.append(message)

    mails: list[Message] = []
    with socket.socket() as free:  # aiosmtpd calls its own port, and so must know it
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(Handler(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield f"mailto://127.0.0.1:{port}?mode=insecure&from=sincere@example.com&to=ops@example.com", mails
    finally:
        controller.stop()
