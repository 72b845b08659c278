"""Mutate CSVs, archives, addresses and predict's input; each is read, or refused by one of our errors.

usage: python -m benchmarks mutations
"""

import bz2
import gzip
import io
import lzma
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import requests

from ml.config import SourceConfig
from ml.config.source_address import local_path, public_address, scheme_of
from ml.errors import SincereError, foreseen
from ml.source.csv_rows import ENCODING, NeverClosed, Records
from ml.source.csv_table import parse
from ml.source.unpack import unpack
from ml.source.web import transport_errors

INPUTS, SEED = 10_000, 14
LONGEST_SECONDS, LONGEST_MESSAGE = 1.0, 500
SECRET = "sesame"  # is in each row, and must be in no message

_HEADERS = [
    "qid,question_text,target",
    ",qid,question_text,target",
    "qid;question_text;target",
    "Unnamed: 0,qid,target",
]
_ROWS = [
    f'0001,"Is {SECRET}, in a cup, soup?",0',
    f"0002,Why {SECRET}?,1",
    f'0003,"Is ""{SECRET}"" hot?",0',
    f'0004,"{SECRET} is\nof two lines",1',
    f"0005,{SECRET} \u00fc \u4e2d,0",
    f"{SECRET},,",
]
_TOKENS = [
    *(
        b",",
        b'"',
        b'""',
        b'\\"',
        b"\n",
        b"\r\n",
        b"\r",
        b"\n\n",
        b";",
        b"\t",
        b"|",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
    ),
    *(
        b"\xc3",
        b"\xed\xa0\x80",
        b"0x1",
        b"1.0",
        b"sep=,\n",
        b"<html>",
        b"{",
        b"PK\x03\x04",
        b"\x1f\x8b",
        b"BZh9",
        b"PAR1",
    ),
    *(
        b"a" * 140_000,
        b'"' * 1_000,
        b"," * 1_000,
        b"\n" * 1_000,
        b"9" * 400,
        b"../",
        b"%00",
        b"[",
        b"@",
        b":",
        b"//",
        b"~",
    ),
]
_ADDRESSES = [
    f"https://user:{SECRET}@host.invalid:8080/a/b.csv?token={SECRET}#x",
    f"s3://key:{SECRET}@bucket/a.csv",
    "kaggle://competitions/name/train.csv",
    "file:///tmp/questions.csv",
    "file:~/questions.csv",
    "~/questions.csv",
    "http://[::1]:80/a.csv",
    "sample:100:7",
    "gs://bucket/a.csv",
]

T = TypeVar("T")
Check = Callable[[np.random.Generator, Path], None]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Change some bytes, or cut, copy, move or insert pieces, up to four times."""
    for _ in range(min(rng.geometric(0.6), 4)):
        start, end = sorted(rng.integers(0, len(data) + 1, 2).tolist())
        token = _pick(_TOKENS, rng) if rng.random() < 0.7 else rng.bytes(int(rng.integers(1, 9)))
        ways = (
            data[:start] + token + data[start:],
            data[:start] + token + data[start + len(token) :],
            data[:start] + data[end:],
            data[:end] + data[start:],
            data[start:end] + data[:start] + data[end:],
            data[:start],
        )
        data = _pick(ways, rng)
    return data


def _pick(choices: Sequence[T], rng: np.random.Generator) -> T:
    return choices[int(rng.integers(len(choices)))]


def _csv(rng: np.random.Generator, headers: Sequence[str] = _HEADERS, rows_like: Sequence[str] = _ROWS) -> bytes:
    rows = [_pick(rows_like, rng) for _ in range(rng.integers(0, 8))]
    return "\n".join([_pick(headers, rng), *rows, ""]).encode()


def _archive(rng: np.random.Generator) -> bytes:
    content = _csv(rng)
    zipped = io.BytesIO()
    with zipfile.ZipFile(
        zipped, "w", _pick([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA], rng)
    ) as archive:
        for name in ["train.csv", ".DS_Store", "a/\u00fc.txt"][: rng.integers(1, 4)]:
            archive.writestr(name, content)
    packed = (
        gzip.compress(content),
        bz2.compress(content),
        lzma.compress(content),
        zipped.getvalue(),
        zipped.getvalue(),
    )
    return _pick(packed, rng)


def check_csv(rng: np.random.Generator, folder: Path) -> None:
    """Whatever the reader accepts has each record of the file as a row, or in quarantine."""
    path = folder / "rows.csv"
    path.write_bytes(mutated(_csv(rng), rng))
    parsed = parse(path, SourceConfig(), source="file:rows.csv", to=folder / "rows.parquet")
    assert parsed.rows + len(parsed.quarantined) == _rows(path)


def _rows(path: Path) -> int:
    """Count the rows one by one, as the reader of tables does not; a blank line is one if there is one column."""
    rows = 0
    with path.open(encoding=ENCODING, newline="") as file, suppress(NeverClosed):
        records = Records(file, "again")
        columns = len(records.header())
        for record in records:
            rows += bool(record) or columns == 1
        return rows
    return rows + 1  # the record whose quote is never closed


def check_archive(rng: np.random.Generator, folder: Path) -> None:
    """Unpack and read a broken archive."""
    config = SourceConfig(max_bytes=1_000_000)
    content = bytearray(_archive(rng))
    if rng.random() < 0.5:
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    else:
        content = bytearray(mutated(bytes(content), rng))
    (folder / "packed").write_bytes(content)
    unpack(folder / "packed", folder / "rows.csv", config, source="file:packed")
    parse(folder / "rows.csv", config, source="file:packed", to=folder / "rows.parquet")


def check_address(rng: np.random.Generator, folder: Path) -> None:
    """A public address holds no secret, and can be asked for; nobody is asked."""
    address = mutated(_pick(_ADDRESSES, rng).encode(), rng).decode("utf-8", "replace")[:4096]
    public_address(address)
    if scheme_of(address) == "file":
        local_path(address)
    elif scheme_of(address) in {"http", "https"}:
        with transport_errors("a source"):
            requests.Request("GET", address).prepare()


def check_prediction(rng: np.random.Generator, folder: Path) -> None:
    """As many rows come out as went in."""
    from ml.model.predict import LoadedModel, predict_csv

    tables = (_csv(rng, _HEADERS[:1]), _csv(rng, ["question_text"], ["", SECRET, f'"{SECRET}, why?"']))
    (folder / "asked.csv").write_bytes(mutated(_pick(tables, rng), rng))
    predict_csv(cast(LoadedModel, _Halves()), folder / "asked.csv", folder / "scored.csv")
    assert _rows(folder / "scored.csv") == _rows(folder / "asked.csv")


class _Halves:
    """Stands in for a model."""

    threshold = 0.5

    def score(self, texts: Sequence[str], scored: object) -> np.ndarray:
        return np.full(len(texts), 0.5, np.float32)


CHECKS: dict[str, Check] = {
    "csv": check_csv,
    "archive": check_archive,
    "address": check_address,
    "prediction": check_prediction,
}


def try_out(name: str, inputs: int, seed: int = SEED) -> dict[str, object]:
    """Try so many mutated inputs; raises AssertionError for an error that is not ours, is slow or quotes a row."""
    ends, slowest = Counter[str](), 0.0
    with tempfile.TemporaryDirectory() as folder:
        with suppress(SincereError):  # imports take their time at first
            CHECKS[name](np.random.default_rng(seed), Path(folder))
        for number in range(inputs):
            before = time.process_time()
            try:
                CHECKS[name](np.random.default_rng([seed, number]), Path(folder))
                ends["read"] += 1
            except Exception as error:
                ours = next(foreseen(error, Path(folder)), None)
                if ours is None:
                    raise AssertionError((name, number)) from error
                ends["refused"] += 1
                assert SECRET not in str(ours), (name, number)
                assert len(str(ours)) < LONGEST_MESSAGE, (name, number)
            slowest = max(slowest, time.process_time() - before)
            assert slowest < LONGEST_SECONDS, (name, number)
    return {
        "inputs": name,
        "tried": inputs,
        "read": ends["read"],
        "refused": ends["refused"],
        "slowest, s": f"{slowest:.3f}",
    }


def measure() -> list[dict[str, object]]:
    """Try `INPUTS` mutated inputs, shared among the checks."""
    return [try_out(name, INPUTS // len(CHECKS)) for name in CHECKS]
