"""Downloads with Kaggle's real client from a server on this machine."""

import io
import json
import logging
import re
import zipfile

import kagglesdk
import pytest
from kagglesdk import kaggle_env

from ml.errors import ConfigError, DataError, SourceUnavailable
from ml.source import download
from ml.source.snapshot import snapshot
from tests.places import config, open_run, store_is_empty
from tests.source.kaggle_server import KaggleServer
from tests.source.web import running, serving

CSV = b"qid,question_text,target\n01,Is soup a drink?,0\n02,Why do all bakers lie?,1\n"
URI = "kaggle://competitions/quora-questions/train.csv"


@pytest.fixture(autouse=True)
def _only_our_credentials(monkeypatch, tmp_path):
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_API_TOKEN", "the-secret")
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setattr(download, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def kaggle(monkeypatch):
    def start(address="", **how):
        server = KaggleServer(address, **how)
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.TEST, server.url)
        return running(server)

    return start


def pull(tmp_path, *overrides):
    return snapshot(config(URI, "source.attempts=2", *overrides), open_run(tmp_path))


def zipped(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.csv", content)
    return buffer.getvalue()


@pytest.mark.parametrize("body", [CSV, zipped(CSV)], ids=["csv", "csv.zip"])
def test_the_file_arrives_as_it_is_or_zipped(kaggle, tmp_path, body):
    with serving(body, kind="application/zip") as storage, kaggle(storage.url) as server:
        record = pull(tmp_path)
    assert (record.source, record.rows, record.bytes) == (URI, 2, len(CSV))
    asked = {"competitionName": "quora-questions", "fileName": "train.csv"}
    assert server.asked == [("/api/v1/competitions.CompetitionApiService/DownloadDataFile", asked)]
    assert server.headers[0]["User-Agent"] == "sincere"


def test_a_download_that_breaks_off_resumes_at_a_new_signed_address(kaggle, tmp_path):
    body = CSV + b"03,Why is soup hot?,0\n" * 50_000
    with serving(body) as storage, kaggle(storage.url) as server:
        storage.breaks = [0, 600_000]  # Kaggle's client opens the address once by itself, which takes the first break
        assert pull(tmp_path).bytes == len(body)
    assert len(server.asked) == 2
    assert storage.asked == ["", "", "", "bytes=600000-"]


CREDENTIALS = {
    "token": ({"KAGGLE_API_TOKEN": "the-secret"}, "Bearer the-secret"),
    "key": ({"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": "the-secret"}, "Basic c29tZW9uZTp0aGUtc2VjcmV0"),
}


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_the_credentials_go_to_kaggle_and_nowhere_else(kaggle, tmp_path, monkeypatch, kind):
    settings, sent = CREDENTIALS[kind]
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with serving(CSV) as storage, kaggle(storage.url) as server:
        pull(tmp_path)
    assert [headers["Authorization"] for headers in server.headers] == [sent]
    assert set(storage.credentials) == {""}


BEARER, BASIC = (sent for _, sent in CREDENTIALS.values())
KEY_FILE = json.dumps({"username": "someone", "key": "the-secret\n"})
LOGIN = {"refresh_token": "renew", "access_token": "the-secret", "access_token_expiration": "2999-01-01T00:00:00+00:00"}
# Variables, files, and what is shown to Kaggle.
PLACES = {
    "a token with a line end": ({"KAGGLE_API_TOKEN": "the-secret\n"}, {}, BEARER),
    "a token longer than a file name": ({"KAGGLE_API_TOKEN": "a" * 5_000}, {}, f"Bearer {'a' * 5_000}"),
    "a file of a token": ({"KAGGLE_API_TOKEN": "token.txt"}, {"token.txt": "the-secret\n"}, BEARER),
    "access_token": ({}, {".kaggle/access_token": "the-secret\n"}, BEARER),
    "access_token.txt": ({"KAGGLE_API_TOKEN": ""}, {".kaggle/access_token.txt": "the-secret"}, BEARER),
    "a key with a line end": ({"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": "the-secret\n"}, {}, BASIC),
    "kaggle.json": ({}, {".kaggle/kaggle.json": KEY_FILE}, BASIC),
    "a folder of one's own": ({"KAGGLE_CONFIG_DIR": "mine"}, {"mine/kaggle.json": KEY_FILE}, BASIC),
    "the folder of XDG": ({}, {".config/kaggle/kaggle.json": KEY_FILE}, BASIC),
    "a user set beside kaggle.json": (
        {"KAGGLE_USERNAME": "someone"},
        {".kaggle/kaggle.json": KEY_FILE.replace("someone", "other")},
        BASIC,
    ),
    "kaggle auth login": ({}, {".kaggle/credentials.json": json.dumps(LOGIN)}, BEARER),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Sets the variables and writes the files below the home, which is the current folder."""

    def put(settings, files):
        monkeypatch.delenv("KAGGLE_API_TOKEN")
        monkeypatch.chdir(tmp_path)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)

    return put


@pytest.mark.parametrize("kind", PLACES)
def test_credentials_are_found_where_kaggle_s_own_tool_finds_them(kaggle, place, tmp_path, kind):
    settings, files, sent = PLACES[kind]
    place(settings, files)
    with serving(CSV) as storage, kaggle(storage.url) as server:
        pull(tmp_path)
    assert [headers["Authorization"] for headers in server.headers] == [sent]


def test_a_login_is_renewed_even_where_its_file_cannot_be_written(kaggle, place, tmp_path, monkeypatch):
    place({}, {".kaggle/credentials.json": json.dumps({"refresh_token": "renew"})})
    monkeypatch.setattr(kagglesdk.KaggleCredentials, "save", lambda _: (_ for _ in ()).throw(PermissionError()))
    with serving(CSV) as storage, kaggle(storage.url) as server:
        pull(tmp_path)
    assert server.asked[0][1]["refreshToken"] == "renew"
    assert server.headers[1]["Authorization"] == "Bearer renewed"


UNREADABLE = {
    "a key in other letters": ({"KAGGLE_API_TOKEN": "the-secr\u00e9t"}, {}),
    "a key of two lines": ({"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": "the-\nsecret"}, {}),
    "a broken kaggle.json": ({}, {".kaggle/kaggle.json": '{"key": "the-secret"'}),
    "a list as kaggle.json": ({}, {".kaggle/kaggle.json": '["the-secret"]'}),
    "a list as credentials.json": ({}, {".kaggle/credentials.json": '["the-secret"]'}),
    "an odd time": ({}, {".kaggle/credentials.json": json.dumps(LOGIN | {"access_token_expiration": "soon"})}),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_credentials_that_cannot_be_read_are_one_clear_error(place, tmp_path, kind):
    place(*UNREADABLE[kind])
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        pull(tmp_path)
    assert "secr" not in str(caught.value)


def test_neither_the_key_nor_the_signed_address_is_logged(kaggle, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with serving(CSV) as storage, kaggle(f"{storage.url}?signature=signed"):
        storage.breaks = [0, 40]
        record = pull(tmp_path)
    assert "attempt 1 of 2" in caplog.text
    assert not re.search("secret|signed", caplog.text + str(record))


REFUSALS = {
    401: (ConfigError, "does not accept the credentials"),
    403: (DataError, r"accept the rules at https://www\.kaggle\.com/competitions/quora-questions/rules"),
    404: (DataError, "no such file"),
    429: (SourceUnavailable, "in 2 attempts"),
    503: (SourceUnavailable, "in 2 attempts"),
}


@pytest.mark.parametrize("in_body", [False, True], ids=["as a status", "in the body"])
@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_says_what_to_do(kaggle, tmp_path, status, in_body):
    error, message = REFUSALS[status]
    with kaggle(status=status, in_body=in_body), pytest.raises(error, match=message) as caught:
        pull(tmp_path)
    assert "secret" not in str(caught.value)
    assert store_is_empty(tmp_path)


def test_a_server_that_is_down_is_transient(kaggle, tmp_path):
    with kaggle():
        pass
    with pytest.raises(SourceUnavailable, match="ConnectionError"):
        pull(tmp_path)


def test_a_silent_server_is_transient(kaggle, tmp_path):
    with kaggle(delay_seconds=1), pytest.raises(SourceUnavailable, match="Kaggle did not answer in time"):
        pull(tmp_path, "source.timeout_seconds=0.1")


def test_an_answer_without_an_address_is_transient(kaggle, tmp_path):
    with kaggle(status=200), pytest.raises(SourceUnavailable, match="named no download address"):
        pull(tmp_path)


def test_the_size_limit_is_kept(kaggle, tmp_path):
    with (
        serving(CSV) as storage,
        kaggle(storage.url),
        pytest.raises(DataError, match="larger than 50 bytes"),
    ):
        pull(tmp_path, "source.max_bytes=50")
    assert store_is_empty(tmp_path)


def test_without_credentials_it_says_what_to_set(tmp_path, monkeypatch):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    with pytest.raises(ConfigError, match="KAGGLE_API_TOKEN"):
        pull(tmp_path)
