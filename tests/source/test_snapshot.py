import gzip
import hashlib
import io
import zipfile

import pyarrow.parquet
import pytest

from ml.errors import ConfigError, DataError, SourceUnavailable
from ml.source import download
from ml.source.snapshot import snapshot
from tests.places import config, open_run, store_is_empty
from tests.source.web import serving

CSV = b'qid,question_text,target\n01,"Is soup, in a cup, soup?",0\n02,NA,0\n03,Why do all bakers lie?,1\n'


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(download, "FIRST_PAUSE_SECONDS", 0.01)


def pull(tmp_path, content, *overrides, name="questions.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    return snapshot(config(path, *overrides), open_run(tmp_path))


def zipped(*members, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def damaged_zip(method):
    content = bytearray(zipped(("train.csv", CSV), method=method))
    content[60:80] = bytes(20)
    return bytes(content)


def test_a_snapshot_keeps_the_bytes_and_the_parsed_rows(tmp_path):
    record = pull(tmp_path, CSV)
    folder = tmp_path / "store" / "snapshots" / record.sha256
    assert (folder / "rows.csv").read_bytes() == CSV
    assert pyarrow.parquet.read_table(folder / "rows.parquet").to_pydict() == {
        "qid": ["01", "02", "03"],
        "question_text": ["Is soup, in a cup, soup?", "NA", "Why do all bakers lie?"],
        "target": [0, 0, 1],
    }
    assert (record.source, record.rows, record.bytes) == ("file:questions.csv", 3, len(CSV))


def test_the_same_bytes_again_leave_the_stored_snapshot_alone(tmp_path):
    first = pull(tmp_path, CSV)
    stored = tmp_path / "store" / "snapshots" / first.sha256 / "rows.parquet"
    before = stored.stat().st_mtime_ns
    second = pull(tmp_path, gzip.compress(CSV), name="again.csv.gz")
    assert (second.sha256, second.source) == (first.sha256, "file:again.csv.gz")
    assert stored.stat().st_mtime_ns == before


def test_a_zip_with_one_csv_is_unpacked(tmp_path):
    assert pull(tmp_path, zipped(("train.csv", CSV))).rows == 3


def test_few_ragged_rows_are_set_aside_and_counted(tmp_path):
    record = pull(tmp_path, CSV + b"04,too,many,fields\n", "source.max_quarantined_fraction=0.3")
    assert (record.rows, record.quarantined_rows) == (3, 1)
    folder = tmp_path / "store" / "snapshots" / record.sha256
    assert (folder / "quarantine.csv").read_text() == "04,too,many,fields\n"


def test_a_quote_that_is_never_closed_counts_for_every_line_that_it_takes(tmp_path):
    rows = [f"{number:02},Why is soup {number} hot?,0\n" for number in range(100)]
    rows[40] = '40,"Why is soup 40 hot?,0\n'
    content = "qid,question_text,target\n" + "".join(rows)
    with pytest.raises(DataError, match="60 of 100 rows have the wrong number of fields"):
        pull(tmp_path, content.encode())


def test_lines_within_quotes_are_one_text(tmp_path):
    record = pull(tmp_path, CSV + b'04,"Why is\nsoup\nhot?",0\n')
    table = pyarrow.parquet.read_table(tmp_path / "store" / "snapshots" / record.sha256 / "rows.parquet")
    assert table["question_text"][-1].as_py() == "Why is\nsoup\nhot?"
    assert record.quarantined_rows == 0


HOSTILE = {
    "empty": (b"", "the file is empty"),
    "header only": (b"qid,question_text,target\n", "a header and no rows"),
    "html": (b"<!DOCTYPE html><html><body>Log in</body></html>", "web page"),
    "semicolons": (CSV.replace(b",", b";"), "separated by semicolon"),
    "tabs": (CSV.replace(b",", b"\t"), "separated by tab"),
    "no header": (b'0a,"Is this a header?",0\n', "first line is not a header"),
    "double column": (b"qid,qid,target\n1,2,0\n", "occurs twice"),
    "utf-16": (CSV.decode().encode("utf-16"), "UTF-16"),
    "latin-1": (CSV + "04,café,0\n".encode("latin-1"), f"0xe9 at offset {len(CSV) + 6}"),
    "nul": (CSV + b"04,a\0b,0\n", f"NUL byte at offset {len(CSV) + 4}"),
    "one endless field": (b"x" * 200_000, "first line is not a header"),
    "endless quote": (b'"qid,question_text,target\n' + CSV * 5_000, "first line is not a header"),
    "many ragged rows": (CSV + b"04,x\n", "1 of 4 rows have the wrong number of fields"),
    "cut-off gzip": (gzip.compress(CSV)[:-10], "broken or cut off"),
    "cut-off zip": (zipped(("train.csv", CSV))[:-10], "broken or cut off"),
    "damaged bzip2 in a zip": (damaged_zip(zipfile.ZIP_BZIP2), "broken or cut off"),
    "damaged lzma in a zip": (damaged_zip(zipfile.ZIP_LZMA), "broken or cut off"),
    "zip of no name": (zipped(("train.csv", CSV)).replace(b"train.csv", b"\0rain.csv"), "without a name"),
    "zip of a dot": (zipped((".", CSV)), "without a name"),
    "climbing zip": (zipped(("../train.csv", CSV)), "climbs out"),
    "zip of several": (zipped(("a.csv", CSV), ("b.csv", CSV)), "holds 2 files"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_ends_in_one_clear_error_and_leaves_nothing(tmp_path, kind):
    content, message = HOSTILE[kind]
    with pytest.raises(DataError, match=message):
        pull(tmp_path, content)
    assert store_is_empty(tmp_path)


@pytest.mark.parametrize("pack", [gzip.compress, lambda content: zipped(("bomb.csv", content))])
def test_a_bomb_stops_at_the_size_limit(tmp_path, pack):
    with pytest.raises(DataError, match="larger than 100000 bytes"):
        pull(tmp_path, pack(CSV + b"0" * 5_000_000), "source.max_bytes=100000")
    assert store_is_empty(tmp_path)


def test_a_missing_file_is_named_without_its_folder(tmp_path):
    with pytest.raises(DataError, match="no such file") as caught:
        snapshot(config(tmp_path / "gone.csv"), open_run(tmp_path))
    assert str(tmp_path) not in str(caught.value)


def test_an_unknown_scheme_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="scheme 'ftp'"):
        snapshot(config("ftp://example.org/a.csv"), open_run(tmp_path))


def test_a_download_resumes_where_it_broke_off(tmp_path):
    body = CSV + b"04,Why is soup hot?,0\n" * 50_000
    with serving(body, breaks=[600_000, 900_000]) as site:
        record = snapshot(config(site.url), open_run(tmp_path))
    assert record.sha256 == hashlib.sha256(body).hexdigest()
    assert site.asked == ["", "bytes=600000-", "bytes=900000-"]


def test_a_download_starts_again_where_the_server_cannot_resume(tmp_path):
    with serving(CSV, breaks=[40], ranges=False) as site:
        record = snapshot(config(site.url), open_run(tmp_path))
    assert record.bytes == len(CSV)
    assert site.asked == ["", ""]


def test_a_download_that_keeps_breaking_off_is_transient(tmp_path):
    with serving(CSV, breaks=[10, 20, 30]) as site, pytest.raises(SourceUnavailable, match="in 2 attempts"):
        snapshot(config(site.url, "source.attempts=2"), open_run(tmp_path))
    assert store_is_empty(tmp_path)


def test_a_refused_connection_is_transient(tmp_path):
    with serving(CSV) as site:
        url = site.url
    with pytest.raises(SourceUnavailable, match="ConnectionError"):
        snapshot(config(url, "source.attempts=2"), open_run(tmp_path))


@pytest.mark.parametrize(("status", "error"), [(404, DataError), (403, DataError), (503, SourceUnavailable)])
def test_a_status_is_permanent_or_transient(tmp_path, status, error):
    with serving(b"", status=status) as site, pytest.raises(error, match=str(status)):
        snapshot(config(site.url, "source.attempts=2"), open_run(tmp_path))


def test_a_download_stops_at_the_size_limit(tmp_path):
    with serving(CSV) as site, pytest.raises(DataError, match="larger than 50 bytes"):
        snapshot(config(site.url, "source.max_bytes=50"), open_run(tmp_path))


def test_a_web_page_is_not_taken_for_a_csv(tmp_path):
    with serving(b"<p>Log in", kind="text/html; charset=utf-8") as site, pytest.raises(DataError, match="web page"):
        snapshot(config(site.url), open_run(tmp_path))


def test_credentials_and_query_stay_out_of_the_record(tmp_path):
    with serving(CSV) as site:
        url = site.url.replace("http://", "http://user:secret@") + "?token=secret"
        record = snapshot(config(url), open_run(tmp_path))
    assert record.source == site.url
