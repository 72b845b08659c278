"""The errors that a person or a scheduler acts on, and the exit status that carries each kind out of a process."""

from typing import ClassVar


class SincereError(Exception):
    """What is wrong, where, and what to do about it. Never carries user text, keys or tokens."""

    exit_status: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str, fix: str) -> None:
        super().__init__(f"{what}\n  where: {where}\n  what to do: {fix}")
        self.what = what
        self.where = where
        self.fix = fix


class PermanentError(SincereError):
    """Fails the same way on every retry: a person must look."""

    exit_status = 65  # EX_DATAERR of sysexits.h


class DataError(PermanentError):
    """The data is not what the pipeline can work on."""


class ConfigError(PermanentError):
    """A setting is unknown, out of bounds or contradicts another."""


class LineageError(PermanentError):
    """A record names a parent that is missing or is not the one it was made from."""


class ServingError(PermanentError):
    """An exported model does not load apart from this code, or does not score as it was evaluated."""


class TransientError(SincereError):
    """May pass by itself: worth a retry with back-off."""

    exit_status = 75  # EX_TEMPFAIL of sysexits.h


class SourceUnavailable(TransientError):
    """The data source did not answer, or broke off more often than we resume."""


class RegistryUnavailable(TransientError):
    """The registry did not give a definite answer; an unknown champion is never taken for an absent one."""


class PromotionPending(RegistryUnavailable):
    """A decision waits in the store for the registry to answer."""


class RegistryConflict(PermanentError):
    """Somebody else moved the alias since the decision was made."""


class RegistryRefused(PermanentError):
    """The registry answered that this account may not do it."""


class RegistryDamaged(PermanentError):
    """The registry's own files are lost, changed or unreadable."""
