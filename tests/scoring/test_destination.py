"""Where scored rows go: local files, and buckets through the real clients of S3 and Google Cloud Storage."""

import asyncio
from types import SimpleNamespace

import gcsfs.retry
import pytest
import s3fs

from ml.errors import ConfigError, DataError, OutputUnavailable
from ml.scoring import destination
from ml.scoring.destination import check_destination, put
from tests.places import config, open_run
from tests.source.object_store_servers import BUCKET, BucketServer, use_only_our_credentials
from tests.source.web import running

both = pytest.mark.parametrize("scheme", ["s3", "gs"])


@pytest.fixture(autouse=True)
def _only_our_credentials(monkeypatch, tmp_path):
    use_only_our_credentials(monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setattr(gcsfs.retry, "asyncio", SimpleNamespace(sleep=lambda _: asyncio.sleep(0)))
    monkeypatch.setattr(destination, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def server(monkeypatch):
    server = BucketServer(b"")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    with running(server):
        yield server


@pytest.fixture
def scored(tmp_path):
    (tmp_path / "scored").write_bytes(b"question_text,probability,label\nabc,0.3,0\n")
    return tmp_path / "scored"


def put_to(scored, output, *overrides):
    put(scored, output, config("questions.csv", "source.attempts=3", *overrides).source)


@both
def test_a_file_gets_whole_into_a_bucket(server, scored, scheme):
    put_to(scored, f"{scheme}://{BUCKET}/week 1/scored.csv")
    assert server.put == {"week 1/scored.csv": scored.read_bytes()}


@both
def test_a_bucket_in_trouble_is_asked_again(server, scored, scheme):
    server.trouble = 2 if scheme == "s3" else 1
    put_to(scored, f"{scheme}://{BUCKET}/scored.csv")
    assert list(server.put) == ["scored.csv"]


@both
def test_a_bucket_that_stays_in_trouble_is_transient(server, scored, scheme):
    server.trouble = 10**6
    with pytest.raises(OutputUnavailable, match="did not take the scored rows in 3 attempts"):
        put_to(scored, f"{scheme}://{BUCKET}/scored.csv")


@both
@pytest.mark.parametrize("refusal", [("pond", 200, "does not exist"), (BUCKET, 403, "forbids")], ids=str)
def test_a_bucket_that_is_missing_or_closed_is_permanent(server, scored, scheme, refusal):
    bucket, server.status, message = refusal
    with pytest.raises(DataError, match=f"the bucket {message}") as caught:
        put_to(scored, f"{scheme}://{bucket}/scored.csv")
    assert caught.value.where == f"{scheme}://{bucket}/scored.csv"
    assert server.put == {}


@both
def test_a_bucket_that_does_not_answer_is_given_up_at_the_deadline(server, scored, scheme):
    server.put_delay_seconds = 3
    with pytest.raises(OutputUnavailable, match=r"in 0\.5 seconds"):
        put_to(scored, f"{scheme}://{BUCKET}/scored.csv", "source.deadline_seconds=0.5")


def test_a_local_file_is_replaced_whole_and_its_folder_made(scored, tmp_path):
    for _ in range(2):
        put_to(scored, f"file:{tmp_path / 'new' / 'out.csv'}")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.csv"]
    assert (tmp_path / "new" / "out.csv").read_bytes() == scored.read_bytes()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("https://host/out.csv", "nothing can be written to https:"),
        ("ftp://host/out.csv", "scheme 'ftp'"),
        ("sample:20", "nothing can be written to sample:"),
        ("s3://lake", "a folder or a bucket"),
        ("s3://lake/", "a folder or a bucket"),
        (".", "a folder or a bucket"),
        ("q.csv", "would replace the questions"),
    ],
)
def test_what_cannot_be_written_is_refused_before_any_work(output, message):
    with pytest.raises(ConfigError, match=message):
        check_destination(config("q.csv", f'score.output="{output}"'))


@both
def test_questions_of_a_bucket_are_not_replaced(scheme):
    with pytest.raises(ConfigError, match="would replace the questions"):
        check_destination(config(f"{scheme}://lake/q.csv", f'score.output="{scheme}://lake/q.csv"'))


@pytest.mark.parametrize(("form", "end"), [("CSV", "parquet"), ("CSV", "csv.gz"), ("Parquet", "csv")])
def test_a_name_that_says_another_format_is_refused(tmp_path, form, end):
    settings = config("q", f'score.output="s3://lake/out.{end}"')
    with pytest.raises(ConfigError, match=f"the questions are {form}"):
        destination.destination(settings, open_run(tmp_path), form)
