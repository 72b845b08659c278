"""Unpack the only CSV of a `.gz` or `.zip`; the first bytes tell the format. Malicious archives are refused."""

import gzip
import lzma
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, cast

from ml.config import SourceConfig
from ml.errors import DataError
from ml.progress import progress
from ml.source.download import CHUNK_BYTES, check_size

_GZIP_MAGIC, _ZIP_MAGICS = b"\x1f\x8b", (b"PK\x03\x04", b"PK\x05\x06")


def unpack(packed: Path, target: Path, config: SourceConfig, *, source: str) -> None:
    """Write the CSV to `target`, whether `packed` is the CSV or an archive; raises DataError for a bad archive."""
    with packed.open("rb") as file:
        magic = file.read(4)
    try:
        if magic[:2] == _GZIP_MAGIC:
            with gzip.open(packed) as stream:
                _copy(cast(IO[bytes], stream), target, config, source)
        elif magic in _ZIP_MAGICS:
            _unzip(packed, target, config, source)
        else:
            check_size(packed.stat().st_size, config.max_bytes, source)
            shutil.copyfile(packed, target)
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError) as error:
        raise _broken(error, source) from None


def _broken(error: Exception, source: str) -> DataError:
    return DataError(
        f"the archive is broken or cut off ({type(error).__name__})",
        where=source,
        fix="download it again and check its size against the source's",
    )


def _unzip(packed: Path, target: Path, config: SourceConfig, source: str) -> None:
    with zipfile.ZipFile(packed) as archive:
        member = _only_member(archive, source)
        if member.flag_bits & 1:
            raise _refused("the zip file is encrypted", source)
        check_size(member.file_size, config.max_bytes, source)
        with archive.open(member) as stream:
            _copy(stream, target, config, source)


def _only_member(archive: zipfile.ZipFile, source: str) -> zipfile.ZipInfo:
    members = [member for member in archive.infolist() if not member.filename.endswith("/")]
    if not all(PurePosixPath(member.filename).name for member in members):
        raise _refused("the zip file holds a file without a name", source)
    climbing = [member for member in members if _climbs(member.filename)]
    if climbing:
        raise _refused("the zip file holds a path that climbs out of its folder", source)
    wanted = [member for member in members if not member.filename.startswith("__MACOSX/")]
    if len(wanted) != 1:
        raise _refused(f"the zip file holds {len(wanted)} files", source)
    return wanted[0]


def _climbs(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in path.parts[0]


def _refused(what: str, source: str) -> DataError:
    return DataError(what, where=source, fix="pack exactly one CSV, without a password, or give the CSV itself")


def _copy(stream: IO[bytes], target: Path, config: SourceConfig, source: str) -> None:
    written = 0
    with target.open("wb") as file, progress("unpack", None, "B", scaled=True) as bar:
        while chunk := _read(stream, source):
            written += len(chunk)
            check_size(written, config.max_bytes, source)
            file.write(chunk)
            bar.update(len(chunk))


def _read(stream: IO[bytes], source: str) -> bytes:
    """Read the next chunk; raises DataError if the archive is broken.

    For a broken archive bz2 raises OSError, as writing to a full disk does. So the read alone is inside the `try`.
    """
    try:
        return stream.read(CHUNK_BYTES)
    except (OSError, lzma.LZMAError) as error:
        raise _broken(error, source) from None
