"""Download the module at a TF-Hub handle or another http(s) address, once, into a cache folder of the user's own.

`hub.resolve` has no timeout and no progress, does not resume, and may keep a module whose download broke off.
"""

import hashlib
import os
import stat
import tarfile
import tempfile
import zlib
from pathlib import Path

import requests
from tensorflow_hub.resolver import tfhub_cache_dir

from ml.config import SourceConfig
from ml.config.source_address import public_address
from ml.errors import ConfigError, PermanentError, raise_if_passing
from ml.source.download import download
from ml.source.web import open_http
from ml.store.files import rename_whole


def download_module(handle: str) -> Path:
    """Return the local folder of the module, and download the module if the folder does not exist yet.

    Raises ConfigError if the address or the archive is wrong, SourceUnavailable if the server does not answer.
    """
    if not handle.startswith(("http://", "https://")):
        raise _refused("a module's address begins with http:// or https://")
    cache = _cache_folder()
    folder = cache / hashlib.sha1(handle.encode(), usedforsecurity=False).hexdigest()
    if _is_module(folder):
        return folder
    with tempfile.TemporaryDirectory(dir=cache) as staging:
        archive, module = Path(staging, "archive"), Path(staging, "module")
        _download_archive(handle, archive)
        _extract(archive, module)
        _rename(module, folder)
    return folder


def _cache_folder() -> Path:
    """Return TFHUB_CACHE_DIR, else a folder in the user's cache; raises ConfigError if others may write there.

    TF-Hub's own default, a folder in /tmp, may be made by anybody, and a module in it is run.
    """
    usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "tfhub_modules").expanduser()
    cache = Path(tfhub_cache_dir() or usual)
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = cache.stat()
    if status.st_mode & stat.S_IWOTH or status.st_uid not in (os.getuid(), 0):
        raise ConfigError(
            "others may put modules into the cache of the hub's modules",
            where="TFHUB_CACHE_DIR",
            fix="name a folder that is yours, and that others may not write to (chmod o-w)",
        )
    return cache


def _download_archive(handle: str, archive: Path) -> None:
    config, source = SourceConfig(uri=handle), public_address(handle)
    try:
        download(open_http(lambda: _address(handle), config, source=source), archive, config, source=source)
    except PermanentError as error:
        raise _refused(error.what) from None


def _address(handle: str) -> str:
    """Return the address of the archive, by the rule in https://www.tensorflow.org/hub/hosting ("Compressed")."""
    request = requests.Request("GET", handle, params={"tf-hub-format": "compressed"})
    return str(request.prepare().url)


def _extract(archive: Path, module: Path) -> None:
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(module, filter="data")
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise_if_passing(error)
        raise _refused(f"what came is not a whole archive of a module ({type(error).__name__})") from None
    if not _is_module(module):
        raise _refused("the archive holds no saved_model.pb")


def _is_module(folder: Path) -> bool:
    return (folder / "saved_model.pb").is_file()


def _rename(module: Path, folder: Path) -> None:
    try:
        rename_whole(module, folder)
    except OSError:
        if not _is_module(folder):  # otherwise another process has put the module there first
            raise


def _refused(what: str) -> ConfigError:
    fix = "check the handle, or download the module by hand and give its folder"
    return ConfigError(what, where="[encoder] source", fix=fix)
