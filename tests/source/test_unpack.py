import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile

import pytest

from ml.errors import DataError
from ml.source.snapshot import snapshot
from tests.places import config, open_run, store_is_empty

CSV = b"qid,question_text,target\n01,Is soup a drink?,0\n02,Why do all bakers lie?,1\n"


def pull(tmp_path, content, *settings):
    (tmp_path / "packed").write_bytes(content)
    return snapshot(config(tmp_path / "packed", *settings), open_run(tmp_path))


def zipped(*names, content=CSV):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content if name.endswith(".csv") else b"\0junk")
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("train.csv")
        member.size = len(CSV)
        archive.addfile(member, io.BytesIO(CSV))
    return buffer.getvalue()


def with_end_of(archive, *, offset):
    """A zip whose list of files is said to begin at another byte than it does."""
    end = archive.rindex(b"PK\x05\x06")
    return archive[: end + 16] + struct.pack("<I", offset) + archive[end + 20 :]


READ = {
    "gzip": gzip.compress(CSV),
    "gzip in two members": gzip.compress(CSV[:30]) + gzip.compress(CSV[30:]),
    "bzip2": bz2.compress(CSV),
    "xz": lzma.compress(CSV),
    "zip": zipped("train.csv"),
    "zip with .DS_Store": zipped(".DS_Store", "train.csv", "__MACOSX/._train.csv"),
    "zip of a folder with a nested __MACOSX": zipped("a/train.csv", "a/__MACOSX/._train.csv", "a/.DS_Store"),
    "zip of Windows": zipped("train.csv", "Thumbs.db", "desktop.ini"),
    "zip with a note": zipped("README.txt", "train.csv"),
}


@pytest.mark.parametrize("kind", READ)
def test_the_one_csv_in_an_archive_is_taken(tmp_path, kind):
    assert pull(tmp_path, READ[kind]).bytes == len(CSV)


REFUSED = {
    "zip of two tables": (zipped("a.csv", "b.csv"), "holds 2 files"),
    "zip of two notes": (zipped("a.txt", "b.txt"), "holds 2 files"),
    "zip of nothing but .DS_Store": (zipped(".DS_Store"), "holds 0 files"),
    "workbook": (zipped("[Content_Types].xml", "xl/workbook.xml"), "workbook of Excel"),
    "tar": (tarred(), "tar archive"),
    "tar.gz": (gzip.compress(tarred()), "tar archive"),
    "tar.xz": (lzma.compress(tarred()), "tar archive"),
    "zip in gzip": (gzip.compress(zipped("train.csv")), "zip within an archive"),
    "gzip in zip": (zipped("train.csv", content=gzip.compress(CSV)), "gzip within an archive"),
    "cut-off bzip2": (bz2.compress(CSV)[:-10], "broken or cut off"),
    "damaged bzip2": (b"BZh9" + b"damaged" * 20, "broken or cut off"),
    "cut-off xz": (lzma.compress(CSV)[:-10], "broken or cut off"),
    "damaged xz": (lzma.compress(CSV)[:20] + b"damaged" * 20, "broken or cut off"),
    "zip with a negative offset": (with_end_of(zipped("train.csv"), offset=1_000), "broken or cut off"),
    "zip with a list elsewhere": (with_end_of(zipped("train.csv"), offset=3), "broken or cut off"),
    "encrypted zip": (
        zipped("train.csv").replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\x01\0"),
        "the zip file is encrypted",
    ),
    "zip with a name that is not UTF-8": (
        zipped("\u00fc.csv").replace("\u00fc".encode(), b"\xff\xff"),
        "broken or cut off",
    ),
    "zip of an unknown method": (
        zipped("train.csv").replace(b"\x14\0\0\0\x08", b"\x14\0\0\0\x63"),
        "broken or cut off",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_any_other_archive_is_one_clear_error(tmp_path, kind):
    content, message = REFUSED[kind]
    with pytest.raises(DataError, match=message):
        pull(tmp_path, content)
    assert store_is_empty(tmp_path)


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_a_bomb_stops_at_the_size_limit(tmp_path, pack):
    with pytest.raises(DataError, match="larger than 100000 bytes"):
        pull(tmp_path, pack(CSV + b"0" * 5_000_000), "source.max_bytes=100000")
    assert store_is_empty(tmp_path)
