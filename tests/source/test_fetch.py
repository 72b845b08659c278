"""Addresses as people write them, and local files that somebody else is still writing."""

import os
import threading

import pytest

from ml.config.source_address import public_address
from ml.errors import ConfigError, DataError, SourceUnavailable
from ml.source import unpack
from ml.source.snapshot import snapshot
from tests.places import config, open_run, store_is_empty

CSV = b"qid,question_text,target\n01,Is soup a drink?,0\n02,Why do all bakers lie?,1\n"

UNREADABLE = [
    "http://[bad",
    "https://[::1",
    "http://host:port/a.csv",
    "http://user:pa/ss@host.invalid/a.csv",
    "http://ho st/a.csv",
    "http://host/a\nb.csv",
    "s3://[bad/key",
    "kaggle://[bad",
    "http://a..b/data.csv",
    "http://*/data.csv",
    "http://",
    "https:///data.csv",
    "file://elsewhere/data.csv",
    "~nobody-of-that-name/data.csv",
    "file:~nobody-of-that-name/data.csv",
    "",
    " ",
    "file:",
    "sample:many",
    "sample:1000000000",
    "sample:user:sesame@",
    "sesame:x-oauth-basic@host/data.csv",
    "https//user:sesame@host",
    "kaggle://competitions/a",
]


@pytest.mark.parametrize("uri", UNREADABLE)
def test_an_address_that_cannot_be_read_is_one_clear_error(tmp_path, uri):
    with pytest.raises((ConfigError, DataError)) as caught:
        snapshot(config(uri.replace("\n", "\\n"), "source.attempts=1"), open_run(tmp_path))
    assert "sesame" not in str(caught.value)
    assert "pa/ss" not in str(caught.value)
    assert store_is_empty(tmp_path)


@pytest.mark.parametrize("address", ["~/questions.csv", "file:~/questions.csv", "file://localhost{home}/questions.csv"])
def test_a_home_and_a_host_of_this_machine_are_understood(tmp_path, monkeypatch, address):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "questions.csv").write_bytes(CSV)
    assert snapshot(config(address.format(home=tmp_path)), open_run(tmp_path)).source == "file:questions.csv"


def test_credentials_are_in_no_public_address():
    assert public_address("https://user:sesame@host/a.csv?token=sesame#sesame") == "https://host/a.csv"
    assert public_address("s3://key:sesame@bucket/a.csv") == "s3://bucket/a.csv"
    assert public_address("https//user:sesame@host") == "file:host"


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "long name", "not a folder"])
def test_what_is_no_file_is_said_so(tmp_path, kind):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    places = {
        "folder": (tmp_path, "a folder"),
        "pipe": (tmp_path / "pipe", "no regular file"),
        "device": ("/dev/null", "no regular file"),
        "long name": (tmp_path / ("a" * 300), "cannot be reached"),
        "not a folder": (tmp_path / "file" / "a.csv", "no such file"),
    }
    path, message = places[kind]
    with pytest.raises(DataError, match=message) as caught:
        snapshot(config(path), open_run(tmp_path))
    assert str(tmp_path) not in str(caught.value)


def grow(path):
    with path.open("ab") as file:
        file.write(b"03,Is it?,0\n")


def shrink(path):
    os.truncate(path, path.stat().st_size // 2)


def replace(path):
    (path.parent / "beside").write_bytes(CSV * 10)
    (path.parent / "beside").rename(path)


def rewrite(path):
    path.write_bytes(path.read_bytes().replace(b"soup", b"tea!"))


@pytest.mark.parametrize("change", [grow, shrink, replace, rewrite, os.unlink])
@pytest.mark.parametrize("content", [CSV * 10, b"\x1f\x8b" + CSV], ids=["csv", "broken gzip"])
def test_a_local_file_that_changes_under_the_copy_is_no_snapshot(tmp_path, monkeypatch, change, content):
    path = tmp_path / "questions.csv"
    path.write_bytes(content)
    read = unpack._copy

    def read_while_another_writes(*arguments):
        writer = threading.Thread(target=change, args=(path,))
        writer.start()
        writer.join()
        read(*arguments)

    monkeypatch.setattr(unpack, "_copy", read_while_another_writes)
    with pytest.raises(SourceUnavailable, match="changed while it was read"):
        snapshot(config(path), open_run(tmp_path))
    assert store_is_empty(tmp_path)


def test_a_file_that_stays_the_same_is_read_again_and_again(tmp_path):
    path = tmp_path / "questions.csv"
    path.write_bytes(CSV)
    assert snapshot(config(path), open_run(tmp_path)) == snapshot(config(path), open_run(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_of_another_user_is_said_so(tmp_path):
    path = tmp_path / "questions.csv"
    path.write_bytes(CSV)
    path.chmod(0)
    with pytest.raises(DataError, match="may not be read"):
        snapshot(config(path), open_run(tmp_path))


@pytest.mark.parametrize(
    "uri", ["s3:/a.csv", "s3://", "s3://bucket", "s3://bucket/", "s3:///a.csv", "gs://bucket/folder/"]
)
def test_an_address_that_names_no_file_of_a_bucket_asks_nobody(tmp_path, uri):
    with pytest.raises(ConfigError, match="not an address of a bucket's file"):
        snapshot(config(uri), open_run(tmp_path))


@pytest.mark.parametrize("uri", ["sample:0", "sample:00", "sample:-1"])
def test_a_sample_without_rows_is_no_sample(tmp_path, uri):
    with pytest.raises(ConfigError, match="names no sample"):
        snapshot(config(uri), open_run(tmp_path))
