"""Objects below a prefix, with the real clients of S3 and Google Cloud Storage."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ml.errors import ConfigError, StoreRefused, StoreUnavailable
from ml.store.shared import bucket as module
from ml.store.shared.bucket import Bucket
from ml.store.shared.client import open_client
from tests.places import ADDRESSES
from tests.state_server import StateServer, point_at, running


@pytest.fixture(params=["s3", "gs"])
def bucket(request, server):
    return Bucket(ADDRESSES[request.param])


def test_what_is_written_is_read_and_replaced(bucket):
    bucket.write("a/b", b"first")
    bucket.write("a/b", b"second")
    bucket.write("empty", b"")
    assert (bucket.read("a/b"), bucket.read("empty")) == (b"second", b"")


def test_an_absent_object_is_absent_and_can_be_removed(bucket):
    with pytest.raises(FileNotFoundError):
        bucket.read("a/b")
    bucket.remove(["a/b"])


def test_an_object_is_created_once(bucket):
    assert bucket.create("key", b"left")
    assert not bucket.create("key", b"right")
    assert bucket.create("key", b"left"), "whose answer was lost, finds its own"
    assert bucket.read("key") == b"left"
    assert bucket.is_guarded("key")


def test_of_many_at_once_one_creates(bucket):
    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(lambda number: bucket.create("key", str(number).encode()), range(8)))
    assert won.count(True) == 1
    assert bucket.read("key") == str(won.index(True)).encode()


def test_a_store_without_conditional_writes_is_noticed(bucket, server):
    bucket.write("key", b"content")
    server.guarded = False
    assert not bucket.is_guarded("key")


def test_all_pages_of_a_listing_are_read(bucket, server):
    server.page = 2
    for number in range(5):
        bucket.write(f"list/{number}", b"12")
    listed = bucket.listing("list/")
    assert [(each.key, each.bytes) for each in listed] == [(f"list/{number}", 2) for number in range(5)]
    assert all(abs(each.time - time.time()) < 60 for each in listed)
    bucket.remove(each.key for each in listed)
    assert bucket.listing("list/") == []
    assert not server.keys()


def test_a_refusal_is_permanent_and_says_no_key(bucket, server, capfd):
    server.fault = lambda method, key: 403
    for ask in (lambda: bucket.read("key"), lambda: bucket.write("key", b""), lambda: bucket.listing("")):
        with pytest.raises(StoreRefused, match="forbids access") as refusal:
            ask()
        assert "the-secret" not in str(refusal.value) + capfd.readouterr().err
    assert len(server.asked) == 3


def test_a_missing_bucket_is_permanent(server):
    for scheme in ADDRESSES:
        bucket = Bucket(f"{scheme}://another-bucket/state")
        with pytest.raises(StoreRefused, match="no such bucket"):
            bucket.write("key", b"content")
        with pytest.raises(StoreRefused, match="no such bucket"):
            bucket.create("key", b"content")


def test_trouble_of_the_server_is_tried_again_and_then_left_to_a_retry(bucket, server):
    server.fault = lambda method, key: 503
    with pytest.raises(StoreUnavailable, match="gave no answer"):
        bucket.read("key")
    assert len(server.asked) >= module.ATTEMPTS

    asked = len(server.asked)
    server.fault = lambda method, key: 503 if len(server.asked) == asked + 1 else 0
    bucket.write("key", b"content")
    assert bucket.read("key") == b"content"


def test_a_server_that_is_down_is_left_to_a_retry(server, monkeypatch):
    with running(StateServer()) as down:
        pass
    point_at(down, monkeypatch)
    monkeypatch.setattr(module, "open_client", open_client)
    for address in ADDRESSES.values():
        with pytest.raises(StoreUnavailable):
            Bucket(address).read("key")


def test_a_server_that_does_not_answer_ends_in_time(bucket, server, monkeypatch):
    bucket.write("key", b"content")
    monkeypatch.setattr(module, "ATTEMPT_SECONDS", 0.1)
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    server.before = lambda method, key: time.sleep(1)
    with pytest.raises(StoreUnavailable, match="Timeout"):
        bucket.read("key")


def test_a_body_that_is_cut_off_is_asked_for_again(bucket, server):
    bucket.write("key", b"content" * 1000)
    asked = len(server.asked)
    server.fault = lambda method, key: -100 if len(server.asked) == asked + 1 else 0
    assert bucket.read("key") == b"content" * 1000
    assert len(server.asked) == asked + 2


def test_what_was_damaged_on_its_way_is_sent_again(bucket, server):
    server.damage = ["key"]
    bucket.write("key", b"content")
    assert bucket.read("key") == b"content"
    assert server.puts() == ["key", "key"]


@pytest.mark.parametrize(
    "address",
    [
        "s3:/bucket",
        "s3://user:secret@bucket/a",
        "file:///tmp",
        "s3://bucket/a b",
        "s3://bucket/../a",
        "s3://bucket?x=1",
    ],
)
def test_another_address_is_refused_without_being_repeated(address):
    with pytest.raises(ConfigError, match="SINCERE_STORE") as error:
        Bucket(address)
    assert "secret" not in str(error.value)
