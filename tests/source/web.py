"""A real HTTP server on this machine that serves one body, and breaks off where a test wants it."""

import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Site(ThreadingHTTPServer):
    """Serves `body`; each number in `breaks` cuts off one answer at this byte.

    `asked` collects the header Range of every request, `paths` its path and query, `credentials` its Authorization.
    """

    daemon_threads = True

    def __init__(self, body, *, breaks=(), ranges=True, status=200, kind="text/csv"):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body, self.breaks, self.ranges, self.status, self.kind = body, list(breaks), ranges, status, kind
        self.asked, self.credentials, self.paths = [], [], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/data.csv"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        site = self.server
        asked = self.headers.get("Range", "")
        site.asked.append(asked)
        site.paths.append(self.path)
        site.credentials.append(self.headers.get("Authorization", ""))
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and site.ranges else 0
        self.send_response(206 if start else site.status)
        self.send_header("Content-Type", site.kind)
        self.send_header("Content-Length", str(len(site.body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(site.body) - 1}/{len(site.body)}")
        if site.ranges:
            self.send_header("ETag", '"first"')
        self.end_headers()
        end = site.breaks.pop(0) if site.breaks else len(site.body)
        self.wfile.write(site.body[start:end])
        self.close_connection = True

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def running(server) -> Iterator[ThreadingHTTPServer]:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def serving(body, **how):
    return running(Site(body, **how))


def certificate(folder, *, days):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a server of one's own")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "certificate.pem"
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + secret)
    return path


def with_tls(server, path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # a client that does not trust us hangs up
