"""The errors that a person or a scheduler acts on. The exit status of a process tells the kind of its error."""

from typing import ClassVar


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


class RegistryUnavailable(TransientError):
    """The registry gave no definite answer. An unknown champion is never treated as an absent one."""


class PromotionPending(RegistryUnavailable):
    """The registry did not answer; the decision waits in the store until it does."""


class RegistryConflict(PermanentError):
    """Somebody else has moved the alias since the decision was made."""


class RegistryRefused(PermanentError):
    """The registry refused the operation: this account does not have the permission."""


class RegistryDamaged(PermanentError):
    """The registry's own files are lost, changed or unreadable."""
