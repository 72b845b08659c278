"""Tables as other tools write them: read where they can be read in one way only, else refused in a line."""

import csv
import io
import random
import subprocess
import sys
import textwrap

import pyarrow.parquet
import pytest

from ml.errors import ConfigError, DataError
from ml.source.csv_rows import _read_by_arrow
from ml.source.snapshot import snapshot
from tests.places import config, open_run, store_is_empty

HEADER = b"qid,question_text,target\n"
ROWS = b'0001,"Is soup, in a cup, soup?",0\n0002,2024-01-01,1\n'
CSV = HEADER + ROWS
TABLE = {
    "qid": ["0001", "0002"],
    "question_text": ["Is soup, in a cup, soup?", "2024-01-01"],
    "target": [0, 1],
}


def pull(tmp_path, content, *settings):
    (tmp_path / "questions.csv").write_bytes(content)
    record = snapshot(config(tmp_path / "questions.csv", *settings), open_run(tmp_path))
    return record, pyarrow.parquet.read_table(tmp_path / "store" / "snapshots" / record.sha256 / "rows.parquet")


SAME_TABLE = {
    "a blank first line": b"\n" + CSV,
    "many blank first lines": b"\r\n" * 2_000 + CSV,
    "blank lines between": HEADER + b"\n" + ROWS.replace(b"\n", b"\n\n"),
    "a byte-order mark": b"\xef\xbb\xbf" + CSV,
    "a byte-order mark before quotes": b'\xef\xbb\xbf"qid","question_text","target"\n' + ROWS,
    "Windows' line ends": CSV.replace(b"\n", b"\r\n"),
    "old Macs' line ends": CSV.replace(b"\n", b"\r"),
    "no line end at the end": CSV.rstrip(),
    "labels as floats": CSV.replace(b",0\n", b",0.0\n").replace(b",1\n", b",1.0\n"),
    "an index of pandas": b',qid,question_text,target\n0,0001,"Is soup, in a cup, soup?",0\n1,0002,2024-01-01,1\n',
    "an index that was read and written again": b"Unnamed: 0.1,Unnamed: 0,qid,question_text,target\n"
    b'0,5,0001,"Is soup, in a cup, soup?",0\n1,9,0002,2024-01-01,1\n',
    "row names of R": b'"","qid","question_text","target"\n"1","0001","Is soup, in a cup, soup?",0\n'
    b'"2","0002","2024-01-01",1\n',
}


@pytest.mark.parametrize("kind", SAME_TABLE)
def test_what_can_be_read_in_one_way_is_read(tmp_path, kind):
    assert pull(tmp_path, SAME_TABLE[kind])[1].to_pydict() == TABLE


INDEXED = b'row,qid,question_text,target\na,0001,"Is soup, in a cup, soup?",0\nb,0002,2024-01-01,1\n'


def test_an_index_column_with_a_name_is_left_out_where_the_settings_name_it(tmp_path):
    with_it, table = pull(tmp_path, INDEXED)
    assert table.column_names == ["row", "qid", "question_text", "target"]
    without_it, table = pull(tmp_path, INDEXED, "source.index_column=row")
    assert table.to_pydict() == TABLE
    assert with_it.sha256 != without_it.sha256, "the rows are others"


def test_a_column_without_a_name_that_does_not_count_rows_is_refused_unless_it_is_named(tmp_path):
    content = INDEXED.replace(b"row,", b",", 1)
    with pytest.raises(DataError, match="column 1 has no name") as caught:
        pull(tmp_path, content)
    assert 'source.index_column = "Unnamed: 0"' in caught.value.fix
    assert pull(tmp_path, content, 'source.index_column="Unnamed: 0"')[1].to_pydict() == TABLE


def test_an_index_column_that_is_not_there_is_an_error_of_the_settings(tmp_path):
    with pytest.raises(ConfigError, match="no such column"):
        pull(tmp_path, CSV, "source.index_column=row")


@pytest.mark.parametrize("target", [b"0x1", b"1e0", b" 1", b"+1", b"01", b"1.5", b"true", b"9" * 40, "\u0661".encode()])
def test_what_is_no_plain_whole_number_is_no_label(tmp_path, target):
    _, table = pull(tmp_path, HEADER + b"0001,Is soup hot?," + target + b"\n")
    assert table["target"].to_pylist() == [target.decode()]


REFUSED = {
    "Spark's escapes": (HEADER + b'1,"Is \\"soup\\" hot?",0\n', "marked by a backslash", "line 2"),
    "a quote that is not doubled": (HEADER + b'1,a,0\n2,"is "soup" hot?",0\n', "is not doubled", "line 3"),
    "a quote that takes rows": (HEADER + b'1,"soup,0\n2,b,0\n3,"is hot",0\n', "is not doubled", "line 2"),
    "a comma too many everywhere": (CSV.replace(b"0\n", b"0,\n").replace(b"1\n", b"1,\n"), "2 of 2 rows", ""),
    "a header that ends with a comma": (CSV.replace(b"\n", b",\n"), "column 4 has no name", ""),
    "a header with spaces": (b"qid, question_text,target\n1,a,0\n", "the name of column 2 cannot be", ""),
    "a field of a megabyte": (HEADER + b'1,"' + b"so \n" * 250_000 + b'",0\n', "a field has more than", "line 2"),
    "one long line": (HEADER + b"1," + b"soup " * 2_000_000 + b",0\n", "a line is too long", ""),
    "Excel's hint": (b"sep=,\r\n" + CSV, "Excel's sep=", ""),
    "Excel's hint of semicolons": (b"sep=;\r\n" + CSV.replace(b",", b";"), "Excel's sep=", ""),
    "quoted semicolons": (b'"qid";"question_text";"target"\n"1";"a";"0"\n', "separated by semicolon", ""),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS", ""),
    "UTF-16 without a mark": ("qid,question_text,target\n".encode("utf-16-le"), "is UTF-16", ""),
    "Parquet": (b"PAR1\x15\x04\x15\xff", "is Parquet", ""),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "workbook of Excel", ""),
    "JSON": (b'[{"qid": "1"}]', "is JSON", ""),
    "XML": (b'<?xml version="1.0"?><Error/>', "is XML", ""),
    "UTF-32": (CSV.decode().encode("utf-32"), "UTF-32", ""),
    "a cut-off letter": (CSV + b"3,caf\xc3", "0xc3", ""),
    "blank lines alone": (b"\n \n\r\n", "is empty", ""),
    "a byte-order mark alone": (b"\xef\xbb\xbf", "is empty", ""),
    "no header, text alone": (b"abc,Why do secrets leak,yes\nabd,Is it so,no\n", "not a header", ""),
    "no header, a word twice": (b"secret,secret,yes\n", "not a header", ""),
    "no header, one column": (b"Why do secrets; leak?\nb\n", "not a header", ""),
    "a name twice": (b"qid,target,question_text,target\n1,0,a,0\n", "the name of column 2 occurs twice", ""),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_ambiguous_or_no_csv_is_refused_in_a_line_that_quotes_no_row(tmp_path, kind):
    content, message, where = REFUSED[kind]
    with pytest.raises(DataError, match=message) as caught:
        pull(tmp_path, content)
    assert where in caught.value.where
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert store_is_empty(tmp_path)


def test_few_rows_are_set_aside_as_they_stand_in_the_file(tmp_path):
    rows = b"".join(b'%04d,"Is soup\r\n%04d hot?",0\r\n' % (number, number) for number in range(300))
    ragged = b'9998,"a\r\n""b""",c,0,0\r\n'
    record, table = pull(tmp_path, HEADER + rows + ragged + b"9999,last,1\r\n", "source.max_quarantined_fraction=0.01")
    assert (record.rows, record.quarantined_rows) == (301, 2)
    assert table["qid"].to_pylist() == [f"{number:04d}" for number in range(300)] + ["9999"]
    kept = tmp_path / "store" / "snapshots" / record.sha256 / "quarantine.csv"
    assert kept.read_bytes() == ragged.replace(b"0,0\r\n", b"0,0\n")


def test_texts_across_the_reader_s_batches_stay_whole(tmp_path):
    text = "Why is\nsoup hot? " * 300
    rows = "".join(f'{number:04d},"{text}",0\n' for number in range(2_000))
    _, table = pull(tmp_path, HEADER + rows.encode())
    assert table["qid"].to_pylist() == [f"{number:04d}" for number in range(2_000)]
    assert set(table["question_text"].to_pylist()) == {text}


@pytest.mark.parametrize(("last", "targets"), [(b"1.0", [0, 1]), (b"x", ["0.0", "x"]), (b"9" * 40, ["0.0", "9" * 40])])
def test_all_targets_are_of_one_kind_though_the_last_stands_far_behind_the_others(tmp_path, last, targets):
    rows = b"".join(b"%07d,Why is soup number %d so hot that nobody eats it?,0.0\n" % (at, at) for at in range(90_000))
    _, table = pull(tmp_path, HEADER + rows + b"last,Why?," + last + b"\n")
    found = table["target"].to_pylist()
    assert (found[:-1], found[-1]) == ([targets[0]] * 90_000, targets[1])


def test_bad_rows_end_a_process_without_an_abort(tmp_path):
    (tmp_path / "ragged.csv").write_bytes(HEADER + b"1,Is soup hot?,0,\n" * 1_500)
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from ml.config import SourceConfig
        from ml.source.csv_table import parse
        rows = Path(sys.argv[1])
        print(len(parse(rows, SourceConfig(), source="ragged", to=rows.with_suffix(".parquet")).quarantined))
    """)
    command = [sys.executable, "-c", script, str(tmp_path / "ragged.csv")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "1500\n", "")


ENDS = ("\n", "\n", "\r\n", "\r", "\n\n", "")
PIECES = ["a", '"b"', '""', '"c,d"', '"e""f"', "", 'g"h', ' "i"', '"k\r\nl"', '"', "\r", "\ufeff", "é", "a,b", '"m"n']


def test_what_is_read_many_rows_at_once_is_what_pythons_reader_reads(tmp_path):
    pick, read = random.Random(5), 0
    for _ in range(3000):
        lines = [f"{pick.choice(PIECES)},{pick.choice(PIECES)}{pick.choice(ENDS)}" for _ in range(pick.randrange(1, 4))]
        columns = _read_by_arrow("".join(lines), 2)
        if columns is not None:
            rows = [row for row in csv.reader(io.StringIO("".join(lines), newline=""), strict=True) if row]
            assert [column.to_pylist() for column in columns] == [[row[at] or None for row in rows] for at in (0, 1)]
            read += 1
    assert read > 300
