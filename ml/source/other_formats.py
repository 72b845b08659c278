"""Recognise files that are no CSV by their first bytes, and say what they are and what to do."""

from ml.errors import DataError

START_BYTES = 512
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_UNPACK = "unpack it and give the CSV in it"
_EXPORT = "export it as CSV in UTF-8, with commas"
_AS_UTF8 = "save it as UTF-8, for example: iconv -f UTF-16 -t UTF-8"
# The longer of two that begin alike comes first.
_KINDS: dict[bytes, tuple[str, str]] = {
    b"\xff\xfe\0\0": ("UTF-32", "save it as UTF-8, for example: iconv -f UTF-32 -t UTF-8"),
    b"\xff\xfe": ("UTF-16", _AS_UTF8),
    b"\xfe\xff": ("UTF-16", _AS_UTF8),
    b"version https://git-lfs.": ("a pointer of Git LFS, not the file itself", "fetch the file: git lfs pull"),
    b"PAR1": ("Parquet", _EXPORT),
    b"ARROW1": ("Arrow", _EXPORT),
    b"FEA1": ("Feather", _EXPORT),
    b"ORC": ("ORC", _EXPORT),
    b"Obj\x01": ("Avro", _EXPORT),
    b"\x89HDF": ("HDF5", _EXPORT),
    b"\xd0\xcf\x11\xe0": ("a workbook of Excel", _EXPORT),
    b"SQLite format 3": ("an SQLite database", _EXPORT),
    b"\x1f\x8b": ("a gzip within an archive", _UNPACK),
    b"BZh": ("a bzip2 within an archive", _UNPACK),
    b"\xfd7zXZ\0": ("an xz within an archive", _UNPACK),
    b"PK\x03\x04": ("a zip within an archive", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("packed by Zstandard", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", _UNPACK),
    b"Rar!": ("a RAR archive", _UNPACK),
    b"\x04\x22\x4d\x18": ("packed by LZ4", _UNPACK),
    b"%PDF": ("a PDF", _EXPORT),
    b"\x80\x04\x95": ("a pickle", _EXPORT),
    b"\x80\x05\x95": ("a pickle", _EXPORT),
}
_MARKUP: dict[bytes, str] = {b"{": "JSON", b"[": "JSON", b"<?xml": "XML"}
_HTML = (b"<!doctype html", b"<html")


def check_start(start: bytes, source: str) -> None:
    """Raise DataError if a file's first `START_BYTES` bytes are those of another format."""
    if start[_TAR_MAGIC_AT:].startswith(_TAR_MAGIC):
        raise other_format("a tar archive", source, _UNPACK)
    for magic, (what, fix) in _KINDS.items():
        if start.startswith(magic):
            raise other_format(what, source, fix)
    if any(_has_nul_in_turn(start, first) for first in (0, 1)):
        raise other_format("UTF-16", source, _AS_UTF8)
    text = start.lstrip().lower()
    if text.startswith(_HTML):
        raise html_instead_of_csv(source)
    for mark, what in _MARKUP.items():
        if text.startswith(mark):
            raise other_format(what, source)


def _has_nul_in_turn(start: bytes, first: int) -> bool:
    """Whether every other byte is NUL, and no other: Latin letters in UTF-16 without a byte-order mark."""
    nul, letters = start[first::2], start[1 - first :: 2]
    return len(nul) > 1 and not any(nul) and all(letters)


def html_instead_of_csv(source: str) -> DataError:
    """Return the error for a web page that came instead of the file."""
    return DataError(
        "a web page (HTML) came instead of a CSV",
        where=source,
        fix="give the address of the file itself, not of the page about it; a login page also looks like this",
    )


def other_format(what: str, source: str, fix: str = _EXPORT) -> DataError:
    """Return the error for a file of another format."""
    return DataError(f"the file is {what}", where=source, fix=fix)
