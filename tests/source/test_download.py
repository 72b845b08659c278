"""Servers on this machine that break off, lie, drip or send odd headers: the file arrives as it is, or not at all."""

import base64
import gzip
import hashlib
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ml.errors import ConfigError, DataError, SourceUnavailable
from ml.source import download
from ml.source.snapshot import snapshot
from tests.places import config, open_run, store_is_empty
from tests.source.web import certificate, running, with_tls

BODY = b"qid,question_text,target\n" + b"".join(b"%04d,Why is soup %04d hot?,0\n" % (n, n) for n in range(5_000))
OTHER = BODY.replace(b"hot", b"old")
BREAK = 60_000
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(download, "FIRST_PAUSE_SECONDS", 0.01)


class Scripted(ThreadingHTTPServer):
    """Gives one answer of `answers` after the other: (status, headers, bytes, pause between pieces in seconds)."""

    daemon_threads = True

    def __init__(self, answers):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.asked = list(answers), []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/data.csv"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.headers.get("Range", ""))
        status, headers, content, pause = self.server.answers.pop(0)
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        piece = 1 if pause else len(content)
        try:
            for start in range(0, len(content), max(piece, 1)):
                self.wfile.write(content[start : start + piece])
                time.sleep(pause)
        except ConnectionError:
            pass
        self.close_connection = True

    def log_message(self, *_):
        """Say nothing."""


def whole(body=BODY, *, sent=None, etag='"first"', **headers):
    fields = {"Content-Length": str(len(body)), "ETag": etag, **headers}
    return 200, fields, body if sent is None else body[:sent], 0


def part(body=BODY, start=BREAK, *, sent_from=None, total=None, etag='"first"', **headers):
    content = body[start if sent_from is None else sent_from :]
    fields = {"Content-Length": str(len(content)), "ETag": etag}
    fields["Content-Range"] = f"bytes {start}-{start + len(content) - 1}/{total or start + len(content)}"
    return 206, fields | headers, content, 0


def pull(tmp_path, *answers, settings=()):
    with running(Scripted(answers)) as server:
        record = snapshot(config(server.url, "source.attempts=3", *settings), open_run(tmp_path))
    return record, server.asked


def header_lacks(answer, name):
    status, headers, content, pause = answer
    return status, {key: value for key, value in headers.items() if key != name}, content, pause


BROKEN = whole(sent=BREAK)
RANGE = f"bytes={BREAK}-"
# What is answered to the request for the rest; none of it continues the file.
LIES = {
    "a 206 with the whole body": part(start=0),
    "a 206 from 29,007 bytes later": part(start=BREAK + 29_007, total=len(BODY)),
    "a 206 from 29 bytes later": part(start=BREAK + 29, total=len(BODY)),
    "a 206 from earlier": part(start=BREAK - 1, total=len(BODY)),
    "a 206 of another ETag": part(OTHER, etag='"second"'),
    "a 206 without the ETag": header_lacks(part(OTHER), "ETag"),
    "a 206 of another total": part(BODY + b"9,x,0\n"),
    "a 206 without a total": part(**{"Content-Range": f"bytes {BREAK}-{len(BODY) - 1}/*"}),
    "a 206 that does not say which part": header_lacks(part(), "Content-Range"),
    "a 206 in other units": part(**{"Content-Range": f"rows {BREAK}-{len(BODY) - 1}/{len(BODY)}"}),
    "a 206 whose length is not its range's": part(
        sent_from=BREAK + 29, **{"Content-Range": f"bytes {BREAK}-{len(BODY) - 1}/{len(BODY)}"}
    ),
    "a 416": (416, {"Content-Range": "bytes */10", "Content-Length": "0"}, b"", 0),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_does_not_continue_the_file_makes_it_begin_anew(tmp_path, lie):
    record, asked = pull(tmp_path, BROKEN, LIES[lie], whole())
    assert (record.sha256, asked) == (SHA256, ["", RANGE, ""])


def test_a_200_after_a_range_is_the_new_file(tmp_path):
    record, asked = pull(tmp_path, BROKEN, whole(OTHER, etag='"second"'))
    assert (record.sha256, asked) == (hashlib.sha256(OTHER).hexdigest(), ["", RANGE])


def test_the_rest_may_come_in_several_parts(tmp_path):
    status, headers, content, pause = part(BODY[:90_000], total=len(BODY))
    record, asked = pull(tmp_path, BROKEN, (status, headers, content, pause), part(start=90_000))
    assert (record.sha256, asked) == (SHA256, ["", RANGE, "bytes=90000-"])


def test_a_206_that_nobody_asked_for_is_no_file_unless_it_is_all_of_it(tmp_path):
    later, all_of_it = part(start=29_007, total=len(BODY)), part(start=0)
    record, asked = pull(tmp_path, later, header_lacks(later, "Content-Range"), all_of_it)
    assert (record.sha256, asked) == (SHA256, ["", "", ""])


def test_last_modified_stands_in_for_a_weak_etag(tmp_path):
    before, after = ({"Last-Modified": f"Mon, 0{day} Jan 2024 00:00:00 GMT"} for day in (1, 2))
    answers = [whole(sent=BREAK, etag='W/"1"', **before), part(OTHER, etag='W/"1"', **after), whole(etag='W/"1"')]
    record, asked = pull(tmp_path, *answers)
    assert (record.sha256, asked) == (SHA256, ["", RANGE, ""])


def encoded(algorithm, content):
    return base64.b64encode(hashlib.new(algorithm, content).digest()).decode()


DIGESTS = {
    "Content-MD5": lambda content: encoded("md5", content),
    "Repr-Digest": lambda content: f"unknown=:AAAA:, sha-256=:{encoded('sha256', content)}:",
    "Digest": lambda content: f"SHA-512={encoded('sha512', content)}",
    "x-goog-hash": lambda content: f"crc32c=AAAAAA==,md5={encoded('md5', content)}",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_bytes_that_do_not_have_the_digest_are_fetched_anew(tmp_path, name):
    promised = {name: DIGESTS[name](BODY)}
    record, asked = pull(tmp_path, whole(OTHER, **promised), whole(**promised))
    assert (record.sha256, asked) == (SHA256, ["", ""])


def test_a_resumed_file_must_have_the_digest_that_was_promised_at_first(tmp_path):
    answers = [whole(sent=BREAK, **{"Content-MD5": encoded("md5", BODY)}), part(OTHER), whole()]
    assert pull(tmp_path, *answers)[0].sha256 == SHA256


def test_bytes_that_never_have_the_digest_are_no_file(tmp_path):
    wrong = whole(**{"Content-MD5": encoded("md5", OTHER)})
    with pytest.raises(SourceUnavailable, match="another md5 than the server says"):
        pull(tmp_path, wrong, wrong, wrong)
    assert store_is_empty(tmp_path)


def test_neither_an_etag_of_s3_nor_a_digest_of_what_is_stored_packed_is_a_promise(tmp_path):
    etag = f'"{hashlib.md5(OTHER).hexdigest()}"'
    stored = {"x-goog-stored-content-encoding": "gzip", "x-goog-hash": f"md5={encoded('md5', OTHER)}"}
    assert pull(tmp_path, whole(etag=etag, **stored))[0].sha256 == SHA256


def test_a_server_that_packs_unasked_sends_the_same_file(tmp_path):
    packed = gzip.compress(BODY)
    answer = whole(packed, **{"Content-Encoding": "gzip", "Content-MD5": encoded("md5", packed)})
    assert pull(tmp_path, answer)[0].sha256 == SHA256


def test_a_body_in_chunks_ends_where_its_last_chunk_says(tmp_path):
    chunk = b"%x\r\n%s\r\n" % (len(BODY), BODY)
    cut_off = (200, {"Transfer-Encoding": "chunked"}, chunk[:BREAK], 0)
    record, asked = pull(tmp_path, cut_off, (200, {"Transfer-Encoding": "chunked"}, chunk + b"0\r\n\r\n", 0))
    assert (record.sha256, asked) == (SHA256, ["", ""])


def test_a_length_that_nobody_tells_is_warned_of(tmp_path, caplog):
    pull(tmp_path, (200, {}, BODY, 0))
    assert "does not say how long the file is" in caplog.text


@pytest.mark.parametrize("headers", [{"Content-Length": "600"}, {}], ids=["a byte a time", "without a length"])
def test_a_server_that_drips_ends_at_the_deadline(tmp_path, headers):
    drip = (200, headers, BODY[:600], 0.1)
    before = time.monotonic()
    with pytest.raises(SourceUnavailable, match=r"in 0\.3 seconds"):
        pull(tmp_path, drip, settings=["source.deadline_seconds=0.3"])
    assert time.monotonic() - before < 20
    assert store_is_empty(tmp_path)


ODD = {
    "a length in other digits": (200, {"Content-Length": "\u00b2"}, BODY, 0),
    "a length of 5,000 digits": (200, {"Content-Length": "9" * 5_000}, BODY, 0),
    "two lengths": (200, {"Content-Length": "5, 6"}, BODY, 0),
    "a redirect to no address": (302, {"Location": "http://["}, b"", 0),
    "a redirect to no host": (302, {"Location": "http://a..b/"}, b"", 0),
    "a redirect to a file": (302, {"Location": "file:///etc/passwd"}, b"", 0),
    "nothing new": (304, {}, b"", 0),
    "nothing": (204, {}, b"", 0),
    "a coding that is not read": (200, {"Content-Encoding": "br", "Content-Length": "4"}, b"abcd", 0),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of sockets that requests drops
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_answer_is_one_clear_error(tmp_path, odd):
    with pytest.raises((ConfigError, DataError, SourceUnavailable)) as caught:
        pull(tmp_path, ODD[odd], ODD[odd], ODD[odd])
    assert len(str(caught.value)) < 400
    assert store_is_empty(tmp_path)


def pull_by_tls(tmp_path, path, answers):
    server = Scripted(answers)
    with_tls(server, path)
    with running(server):
        return snapshot(config(server.url.replace("http:", "https:"), "source.attempts=1"), open_run(tmp_path))


def test_a_certificate_of_ones_own_is_named_and_can_be_trusted(tmp_path, monkeypatch):
    path = certificate(tmp_path, days=30)
    with pytest.raises(ConfigError, match="not trusted: self-signed certificate") as caught:
        pull_by_tls(tmp_path, path, [whole()])
    assert "REQUESTS_CA_BUNDLE" in caught.value.fix
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    assert pull_by_tls(tmp_path, path, [whole()]).sha256 == SHA256


def test_a_certificate_that_has_expired_is_named(tmp_path, monkeypatch):
    path = certificate(tmp_path, days=-1)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    with pytest.raises(ConfigError, match="not trusted: certificate has expired"):
        pull_by_tls(tmp_path, path, [whole()])


@pytest.mark.parametrize("content", [None, "no certificate\n"])
def test_a_bundle_that_cannot_be_read_is_named_without_its_path(tmp_path, monkeypatch, content):
    bundle = tmp_path / "bundle.pem"
    if content:
        bundle.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with pytest.raises(ConfigError, match="REQUESTS_CA_BUNDLE") as caught:
        pull_by_tls(tmp_path, certificate(tmp_path, days=30), [whole()])
    assert str(tmp_path) not in str(caught.value)
