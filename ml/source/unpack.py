"""Unpack the only CSV of a `.gz`, `.bz2`, `.xz` or `.zip`; the first bytes tell the format.

Malicious archives are refused.
"""

import bz2
import errno
import gzip
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ml.config import SourceConfig
from ml.errors import DataError, raise_if_passing
from ml.progress import progress
from ml.source.download import CHUNK_BYTES, check_size
from ml.source.other_formats import other_format

_OPENERS: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_LONGEST_MAGIC = 6
# File managers add these to archives.
_LEFT_BY_SYSTEMS = {".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX"}
# Python's readers raise these errors for damaged archives, as found by python -m benchmarks mutations.
_DAMAGE = (
    EOFError,
    IndexError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def unpack(packed: Path, target: Path, config: SourceConfig, *, source: str) -> None:
    """Write the CSV to `target`, whether `packed` is the CSV or an archive; raises DataError for a bad archive."""
    with packed.open("rb") as file:
        magic = file.read(_LONGEST_MAGIC)
    if magic.startswith(_ZIP_MAGICS):
        _unzip(packed, target, config, source)
        return
    opener = next((opener for start, opener in _OPENERS.items() if magic.startswith(start)), None)
    if opener is None:
        check_size(packed.stat().st_size, config.max_bytes, source)
    with _archive_errors(source), opener(packed) if opener else packed.open("rb") as stream:
        _copy(stream, target, config, source)


@contextmanager
def _archive_errors(source: str) -> Iterator[None]:
    """Turn the errors of broken archives into DataError; errors of the disk, which have an errno, stay as they are."""
    try:
        yield
    except _DAMAGE as error:
        raise_if_passing(error)
        raise _broken(error, source) from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # to seek before the start is EINVAL
            raise
        raise _broken(error, source) from None


def _broken(error: Exception, source: str) -> DataError:
    return DataError(
        f"the archive is broken or cut off ({type(error).__name__})",
        where=source,
        fix="download it again and check its size against the source's",
    )


def _unzip(packed: Path, target: Path, config: SourceConfig, source: str) -> None:
    with _archive_errors(source), zipfile.ZipFile(packed) as archive:
        member = _only_member(archive, source)
        if member.flag_bits & 1:
            raise _refused("the zip file is encrypted", source)
        check_size(member.file_size, config.max_bytes, source)
        with archive.open(member) as stream:
            _copy(stream, target, config, source)


def _only_member(archive: zipfile.ZipFile, source: str) -> zipfile.ZipInfo:
    """Return the only file that is not from a file manager, or of several files the only CSV."""
    members = [member for member in archive.infolist() if not member.filename.endswith("/")]
    names = [PurePosixPath(member.filename) for member in members]
    if not all(name.name for name in names):
        raise _refused("the zip file holds a file without a name", source)
    if any(map(_climbs, archive.namelist())):
        raise _refused("the zip file holds a path that climbs out of its folder", source)
    if "[Content_Types].xml" in archive.namelist():
        raise other_format("a workbook of Excel", source)
    wanted = [member for member, name in zip(members, names, strict=True) if not _is_left_by_system(name)]
    tables = [member for member in wanted if member.filename.lower().endswith(".csv")]
    if len(wanted) != 1 and len(tables) != 1:
        raise _refused(f"the zip file holds {len(wanted)} files", source)
    return wanted[0] if len(wanted) == 1 else tables[0]


def _climbs(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in path.parts[0]


def _is_left_by_system(name: PurePosixPath) -> bool:
    return bool(_LEFT_BY_SYSTEMS & set(name.parts)) or name.name.startswith("._")


def _refused(what: str, source: str) -> DataError:
    return DataError(what, where=source, fix="pack exactly one CSV, without a password, or give the CSV itself")


def _copy(stream: IO[bytes], target: Path, config: SourceConfig, source: str) -> None:
    written = 0
    with target.open("wb") as file, progress("unpack", None, "B", scaled=True) as bar:
        while chunk := stream.read(CHUNK_BYTES):
            written += len(chunk)
            check_size(written, config.max_bytes, source)
            file.write(chunk)
            bar.update(len(chunk))
