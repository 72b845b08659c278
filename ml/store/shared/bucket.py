"""Objects by key below one prefix of an object store (`s3://bucket/prefix`, `gs://bucket/prefix`).

Each request ends within a time, and is made again with back-off where that may help. What the store refuses is told
without its words, which may contain keys.
"""

import logging
import re
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from ml.errors import ConfigError, StoreRefused, StoreUnavailable
from ml.store.shared.client import Meaning, meaning_of, open_client

ATTEMPTS = 4
ATTEMPT_SECONDS = 120.0
FIRST_PAUSE_SECONDS = 0.5
_TIMEOUT_SECONDS = 30.0
_AT_ONCE = 8
WHERE = "SINCERE_STORE"
_ADDRESS = re.compile(r"(s3|gs)://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[A-Za-z0-9!_.*'()=-]+)*")
_FIXES: dict[Meaning, str] = {
    "no bucket": "check its name and region, or make it",
    "absent": "check its name and region, or make it",
    "no credentials": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or GOOGLE_APPLICATION_CREDENTIALS",
    "forbids access": "give these credentials the right to list, read, write and delete below the prefix",
}
_WORDS: dict[Meaning, str] = {
    "no bucket": "there is no such bucket",
    "absent": "there is no such bucket",
    "no credentials": "there are no usable credentials for the bucket",
    "forbids access": "the bucket forbids access",
}

logger = logging.getLogger(__name__)

R = TypeVar("R")
T = TypeVar("T")


class Listed(NamedTuple):
    """An object: its key below the prefix, its size in bytes, and when it was written, in seconds since 1970."""

    key: str
    bytes: int
    time: float


class Bucket:
    """The objects below an address; nothing connects before the first request.

    Raises ConfigError for another address; each method StoreUnavailable for what may pass, StoreRefused for what not.
    """

    def __init__(self, address: str) -> None:
        if not _ADDRESS.fullmatch(address.rstrip("/")) or ".." in address:
            fix = "write s3://bucket/prefix or gs://bucket/prefix, without spaces, credentials or a query"
            raise ConfigError("this is no address in an object store", where=WHERE, fix=fix)
        self.address = address.rstrip("/")
        self._root = self.address.partition("://")[2]

    def read(self, key: str) -> bytes:
        """Return an object; raises FileNotFoundError if there is none."""
        whole = {"max_concurrency": 1} if self.address.startswith("s3:") else {}  # without asking for its size first
        return bytes(self._ask("cat_file", self._path(key), **whole))

    def write(self, key: str, content: bytes) -> None:
        """Write an object, or replace it; readers see the one or the other, whole."""
        try:
            self._ask("pipe_file", self._path(key), content)
        except FileNotFoundError:
            raise _refused("no bucket") from None

    def create(self, key: str, content: bytes) -> bool:
        """Write an object if there is none; say whether it has this content now.

        An answer that was lost on its way leaves open who wrote it: so the content is compared.
        """
        try:
            self._ask("pipe_file", self._path(key), content, mode="create")
        except FileExistsError:
            return self.read(key) == content
        except FileNotFoundError:
            raise _refused("no bucket") from None
        return True

    def is_guarded(self, key: str) -> bool:
        """Say whether the store refuses to create an object that is there; one that does not gets the same content."""
        content = self.read(key)
        try:
            self._ask("pipe_file", self._path(key), content, mode="create")
        except FileExistsError:
            return True
        return False

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects; one that is gone already is no error."""
        self.each(self._remove, list(keys))

    def listing(self, prefix: str) -> Sequence[Listed]:
        """Return all objects whose keys begin with this; the prefix of a missing bucket has none."""
        try:
            found = self._ask("find", self._root, prefix=prefix, detail=True)
        except FileNotFoundError:
            return []
        return [Listed(name[len(self._root) + 1 :], int(each["size"]), _time(each)) for name, each in found.items()]

    def each(self, do: Callable[[R], T], items: Sequence[R]) -> Sequence[T]:
        """Call a function with each of these, a few at once; raises the first error."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return list(threads.map(do, items))

    @cached_property
    def _files(self) -> Any:
        # S3's client sends a checksum; Google's answer has one, to be compared.
        verified: dict[str, Any] = {} if self.address.startswith("s3:") else {"consistency": "md5"}
        return open_client(self.address, timeout_seconds=_TIMEOUT_SECONDS, use_listings_cache=False, **verified)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _remove(self, key: str) -> None:
        try:
            self._ask("rm_file", self._path(key))
        except FileNotFoundError:
            return

    def _ask(self, method: str, *arguments: Any, **settings: Any) -> Any:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._ask_once(method, *arguments, **settings)
            except StoreUnavailable as error:
                if attempt == ATTEMPTS:
                    raise
                logger.warning("the object store, attempt %d of %d: %s", attempt, ATTEMPTS, error.what)
                time.sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
        raise AssertionError

    def _ask_once(self, method: str, *arguments: Any, **settings: Any) -> Any:
        from fsspec.asyn import sync

        try:
            call = getattr(self._files, f"_{method}")
            return sync(self._files.loop, call, *arguments, timeout=ATTEMPT_SECONDS, **settings)
        except Exception as error:
            meaning = meaning_of(error, WHERE)
            if meaning == "exists":
                raise FileExistsError from None
            if meaning == "absent":
                raise FileNotFoundError from None
            if meaning == "passes":
                raise _unavailable(type(error).__name__) from None
            raise _refused(meaning) from None


def _time(listed: dict[str, Any]) -> float:
    told = listed.get("LastModified") or listed.get("updated") or listed["mtime"]
    return (told if isinstance(told, datetime) else datetime.fromisoformat(str(told))).timestamp()


def _unavailable(name: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"the object store gave no answer ({name})",
        where=WHERE,
        fix="see that it can be reached from this machine, then try again: what has been stored stays",
    )


def _refused(meaning: Meaning) -> StoreRefused:
    fix = _FIXES.get(meaning, "check the address, and whether this store speaks S3 with conditional writes")
    return StoreRefused(_WORDS.get(meaning, f"the bucket {meaning}"), where=WHERE, fix=fix)
