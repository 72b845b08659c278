"""Downloads with the real clients of S3 and Google Cloud Storage from a server on this machine."""

import asyncio
import hashlib
import json
from types import SimpleNamespace

import gcsfs.retry
import pytest
import s3fs
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ml.errors import ConfigError, DataError, SourceUnavailable
from ml.source import download
from ml.source.snapshot import snapshot
from tests.places import config, open_run, store_is_empty
from tests.source.object_store_servers import BUCKET, FOLDER, KEY, BucketServer, use_only_our_credentials
from tests.source.web import certificate, running, with_tls

CSV = b"qid,question_text,target\n01,Is soup a drink?,0\n02,Why do all bakers lie?,1\n"

both = pytest.mark.parametrize("scheme", ["s3", "gs"])


@pytest.fixture(autouse=True)
def _only_our_credentials(monkeypatch, tmp_path):
    use_only_our_credentials(monkeypatch, tmp_path)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setattr(gcsfs.retry, "asyncio", SimpleNamespace(sleep=lambda _: asyncio.sleep(0)))
    monkeypatch.setattr(download, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def serve(monkeypatch):
    def start(body=CSV, **how):
        server = BucketServer(body, **how)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        return running(server)

    return start


def pull(tmp_path, scheme, *overrides, key=KEY):
    return snapshot(config(f"{scheme}://{BUCKET}/{key}", "source.attempts=2", *overrides), open_run(tmp_path))


@both
def test_the_bytes_of_a_bucket_arrive(serve, tmp_path, scheme):
    body = CSV + b"03,Why is soup hot?,0\n" * 300_000
    with serve(body) as server:
        record = pull(tmp_path, scheme)
    assert (record.source, record.sha256) == (f"{scheme}://{BUCKET}/{KEY}", hashlib.sha256(body).hexdigest())
    assert len(server.ranges) == 2, "a large file comes in blocks"


@both
def test_a_block_that_breaks_off_is_asked_for_again(serve, tmp_path, scheme):
    with serve(breaks=[40]) as server:
        assert pull(tmp_path, scheme).bytes == len(CSV)
    assert server.ranges == [f"bytes=0-{len(CSV) - 1}"] * 2


@both
@pytest.mark.parametrize(("key", "message"), [("questions/test.csv", "no such file"), (FOLDER, "folder of the bucket")])
def test_a_missing_key_is_no_folder_and_no_file(serve, tmp_path, scheme, key, message):
    with serve(), pytest.raises(DataError, match=message):
        pull(tmp_path, scheme, key=key)
    assert store_is_empty(tmp_path)


@both
def test_a_bucket_without_a_file_is_refused_before_it_is_asked(serve, tmp_path, scheme):
    with serve() as server, pytest.raises(ConfigError, match="not an address of a bucket's file"):
        pull(tmp_path, scheme, key="")
    assert not server.ranges


@both
@pytest.mark.parametrize(("status", "message"), [(400, "refuses the request"), (403, "forbids access")])
def test_a_refusal_is_permanent(serve, tmp_path, scheme, status, message):
    with serve(status=status), pytest.raises(DataError, match=message):
        pull(tmp_path, scheme)
    assert store_is_empty(tmp_path)


@both
def test_a_server_in_trouble_is_transient(serve, tmp_path, scheme):
    with serve(status=503), pytest.raises(SourceUnavailable, match="in 2 attempts"):
        pull(tmp_path, scheme)
    assert store_is_empty(tmp_path)


@both
def test_a_server_that_is_down_is_transient(serve, tmp_path, scheme):
    with serve():
        pass
    with pytest.raises(SourceUnavailable, match="Connect"):
        pull(tmp_path, scheme)
    assert store_is_empty(tmp_path)


@both
def test_a_silent_server_is_transient(serve, tmp_path, scheme):
    with serve(delay_seconds=1), pytest.raises(SourceUnavailable, match="Timeout"):
        pull(tmp_path, scheme, "source.timeout_seconds=0.1", "source.attempts=1")


@both
def test_the_size_limit_is_kept(serve, tmp_path, scheme):
    with serve() as server, pytest.raises(DataError, match="larger than 50 bytes"):
        pull(tmp_path, scheme, "source.max_bytes=50")
    assert server.ranges == [], "no byte is asked for"
    assert store_is_empty(tmp_path)


@both
def test_a_full_disk_is_not_taken_for_a_fault_of_the_bucket(serve, tmp_path, scheme, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_receive", full)
    with serve(), pytest.raises(OSError, match="No space left"):
        pull(tmp_path, scheme)


def test_s3_requests_are_signed_and_the_secret_is_not_sent(serve, tmp_path):
    with serve() as server:
        pull(tmp_path, "s3")
    assert all("Credential=the-user/" in sent and "the-secret" not in sent for sent in server.credentials)


def test_s3_without_credentials_says_what_to_set(serve, tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with serve() as server, pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID"):
        pull(tmp_path, "s3")
    assert server.credentials == []


@both
def test_a_certificate_of_ones_own_is_named_and_can_be_trusted(tmp_path, scheme, monkeypatch):
    path = certificate(tmp_path, days=30)

    def pull_by_tls():
        server = BucketServer(CSV)
        with_tls(server, path)
        for name in ("AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"):
            monkeypatch.setenv(name, server.url.replace("http:", "https:"))
        with running(server):
            return pull(tmp_path, scheme, "source.attempts=1")

    with pytest.raises(ConfigError, match="not trusted: self-signed certificate"):
        pull_by_tls()
    if scheme == "s3":  # aiohttp, for gs://, reads SSL_CERT_FILE once, when a process starts
        monkeypatch.setenv("AWS_CA_BUNDLE", str(path))
        assert pull_by_tls().bytes == len(CSV)


@both
def test_a_public_bucket_is_read_without_credentials_where_the_settings_say_so(serve, tmp_path, scheme, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with serve() as server:
        assert pull(tmp_path, scheme, "source.anonymous=true").bytes == len(CSV)
    assert set(server.credentials) == {""}


@both
def test_a_file_that_changes_while_it_is_read_is_fetched_anew(serve, tmp_path, scheme):
    other = CSV.replace(b"soup", b"tea!")
    with serve() as server:
        server.after_first_read = lambda: vars(server).update(body=other, etag="second", md5=b"")
        assert pull(tmp_path, scheme).sha256 == hashlib.sha256(other).hexdigest()


def test_bytes_that_do_not_have_google_s_digest_are_no_file(serve, tmp_path):
    with serve() as server, pytest.raises(SourceUnavailable, match="another md5"):
        server.md5 = hashlib.md5(b"other").digest()
        pull(tmp_path, "gs")
    assert store_is_empty(tmp_path)


def test_a_private_google_bucket_without_credentials_says_what_to_set(serve, tmp_path):
    with serve(status=401), pytest.raises(ConfigError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        pull(tmp_path, "gs")


def test_a_google_service_account_shows_its_token(serve, tmp_path, monkeypatch):
    with serve() as server:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account(tmp_path, server.url)))
        pull(tmp_path, "gs")
    assert set(server.credentials) == {"Bearer a-token"}


def service_account(folder, url):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "project_id": "a-project",
        "client_email": "someone@example.org",
        "private_key": key.decode(),
        "token_uri": f"{url}/token",
    }
    path = folder / "account.json"
    path.write_text(json.dumps(account))
    return path
