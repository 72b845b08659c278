"""The errors that a person or a scheduler acts on. The exit status of a process tells the kind of its error.

`foreseen` turns what libraries and the system raise into these errors. So this file says what is retried.
"""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

# Trouble of a disk, a network or a machine that may pass: full, worn, slow, away, or too busy.
_PASSING = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM, errno.EAGAIN, errno.EBUSY),
    *(errno.EMFILE, errno.ENFILE, errno.EINTR, errno.ENOLCK, errno.EREMOTEIO, errno.ENODEV, errno.ENXIO, errno.EPIPE),
    *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET),
    *(errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ESHUTDOWN, errno.ENOTCONN),
}
_FIXES = {
    errno.ENOSPC: "free some space there, or use a larger disk",
    errno.EDQUOT: "free some space there, or raise the quota",
    errno.EACCES: "give this user the right to read and write there",
    errno.EPERM: "give this user the right to read and write there",
    errno.EROFS: "use a place that can be written to",
    errno.ENOTDIR: "use a folder, where a file stands in the way now",
    errno.EISDIR: "use a file, where a folder stands in the way now",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ELOOP: "mend the symbolic links that lead to each other",
    errno.EFBIG: "use a file system without this limit, or raise it (ulimit -f)",
}
_LONGEST_PLACE = 120
# Libraries written in Rust give no errno, but this text.
_RUST_ERRNO = re.compile(r"\(os error ([0-9]{1,4})\)")

# TensorFlow's own errors, by the names of their classes, since importing them would import TensorFlow.
_GAVE_OUT = {"ResourceExhaustedError", "UnavailableError", "AbortedError", "DeadlineExceededError"}
_UNCLEAR = {"InternalError", "UnknownError"}
_GAVE_OUT_WORDS = re.compile(
    "out of memory|OOM|failed to alloc|ALLOC_FAILED|Dst tensor|No space left|Input/output error|Stale file|timed out",
    re.IGNORECASE,
)
_FULL_DISK = os.strerror(errno.ENOSPC)


class SincereError(Exception):
    """An error that says what is wrong, where, and what to do. It never contains user text, keys or tokens."""

    exit_status: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str, fix: str) -> None:
        super().__init__(f"{what}\n  where: {where}\n  what to do: {fix}")
        self.what = what
        self.where = where
        self.fix = fix


class PermanentError(SincereError):
    """An error that every retry meets again: a person must act."""

    exit_status = 65  # EX_DATAERR of sysexits.h


class DataError(PermanentError):
    """The pipeline cannot work with this data."""


class ConfigError(PermanentError):
    """A setting is unknown, is out of bounds or contradicts another setting."""


class LineageError(PermanentError):
    """A record cannot be read, or the parent that it names is missing or was changed."""


class ServingError(PermanentError):
    """An exported model does not load without this code, or its scores differ from those of the evaluation."""


class TransientError(SincereError):
    """An error that may go away by itself: the step is retried with back-off."""

    exit_status = 75  # EX_TEMPFAIL of sysexits.h


class SourceUnavailable(TransientError):
    """The data source did not answer, or the download broke off in every attempt."""


class OutputUnavailable(TransientError):
    """The place of the scored rows did not answer."""


class StoreUnavailable(TransientError):
    """The object store that has the state did not answer, or broke off in every attempt."""


class RegistryUnavailable(TransientError):
    """The registry gave no definite answer. An unknown champion is never treated as an absent one."""


class PromotionPending(RegistryUnavailable):
    """The registry did not answer; the decision waits in the store until it does."""


class RegistryConflict(PermanentError):
    """Somebody else has moved the alias since the decision was made."""


class RegistryRefused(PermanentError):
    """The registry refused the operation: this account does not have the permission, or the key is not valid."""


class RegistryDamaged(PermanentError):
    """The registry's own files are lost, changed or unreadable."""


class StoreRefused(PermanentError):
    """The object store that has the state refuses: no such bucket, no rights, or no usable credentials."""


class StoreDamaged(PermanentError):
    """What the object store has is not what was stored there."""


class OutOfResources(TransientError):
    """Memory, a disk or a device gave out, or a process was killed for it."""


class Interrupted(TransientError):
    """A person or the system asked the process to end."""


class PlaceError(PermanentError):
    """A file or a folder cannot be used as it is."""


def foreseen(error: BaseException, home: Path) -> Iterator[SincereError]:
    """What a user, a disk or a machine did, as one of our errors; nothing for what only a bug can be.

    Names a place below `home` from there on, any other by its last part.
    """
    for each in _chain(error):
        for ours in _as_ours(each, home):
            if each is error or isinstance(ours, OutOfResources):
                yield ours


def _as_ours(error: BaseException, home: Path) -> Iterator[SincereError]:
    if isinstance(error, SincereError):
        yield error
    elif isinstance(error, OSError) and _errno(error):
        yield _of_system(error, home)
    elif _gave_out(error) and _FULL_DISK in str(error):
        yield _of_system(OSError(errno.ENOSPC, _FULL_DISK), home)
    elif _is_passing(error):
        yield OutOfResources(
            f"memory, a disk, a device or a connection gave out ({type(error).__name__})",
            where="this machine",
            fix="try again when it has more to give, or ask less of it: smaller batches, fewer processes",
        )


def passes_by_itself(error: BaseException) -> bool:
    """Say whether the same call may succeed later: a disk, memory or a connection gave out."""
    return any(_is_passing(each) for each in _chain(error))


def raise_if_passing(error: BaseException) -> None:
    """Raise the error again if it passes by itself; call this before you turn it into one that waits for a person."""
    if passes_by_itself(error):
        raise error


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, SincereError):
        return isinstance(error, TransientError)
    if isinstance(error, OSError) and _errno(error):
        return _errno(error) in _PASSING
    return isinstance(error, (MemoryError, TimeoutError, ConnectionError)) or _gave_out(error)


def _errno(error: OSError) -> int:
    """Return the number of the system's error; 0 if it is not known."""
    told = _RUST_ERRNO.search(str(error))
    return error.errno or int(told[1] if told else 0)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised for."""
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or (error if error.__suppress_context__ else error.__context__) or error


def _of_system(error: OSError, home: Path) -> SincereError:
    code = _errno(error)
    kind = OutOfResources if code in _PASSING else PlaceError
    usual = "try again later" if kind is OutOfResources else "check the place, and the rights of this user there"
    return kind(os.strerror(code), where=_place(error.filename, home), fix=_FIXES.get(code, usual))


def _place(name: object, home: Path) -> str:
    if not isinstance(name, str):
        return "a file or a connection"
    path = Path(name)
    if path.is_relative_to(home):
        return f"SINCERE_HOME: {path.relative_to(home)}"[:_LONGEST_PLACE]
    return path.name[:_LONGEST_PLACE] or "a folder"


def _gave_out(error: BaseException) -> bool:
    """Whether TensorFlow says so."""
    if not type(error).__module__.startswith("tensorflow"):
        return False
    name = type(error).__name__
    return name in _GAVE_OUT or (name in _UNCLEAR and bool(_GAVE_OUT_WORDS.search(str(error))))
