"""What the exit status of a step means to Airflow: it is tried again, or a person must look."""

import logging
import signal
from collections.abc import Mapping

from airflow.sdk.exceptions import AirflowException, AirflowFailException

TEMPORARY_FAILURE = 75  # EX_TEMPFAIL of sysexits.h: ml/errors.py says what is worth a retry
_OF_A_SHELL = 128  # a shell's status for a program that a signal killed is this and the signal
# After these statuses the step has written its verdict: see ml/errors.py.
_TOLD = {0, 65, TEMPORARY_FAILURE}

logger = logging.getLogger(__name__)


def has_told(status: int) -> bool:
    """Whether a step that ended with this status has written a verdict itself, or has none to write."""
    return status in _TOLD


def raise_for_status(step: str, status: int) -> None:
    """Raise the exception that makes Airflow retry, or the one that does not; a negative status is a killing signal."""
    if status == 0:
        return
    killed_by = _signal(status)
    if status == TEMPORARY_FAILURE:
        again = "promotion pending" if step == "promote" else f"step {step} met trouble that may pass"
        kind, message = AirflowException, f"{again} (see above); it may be tried again"
    elif killed_by:
        kind, message = AirflowException, _killed(step, killed_by)
    else:
        kind, message = AirflowFailException, f"step {step} stopped with status {status}: the lines above say why"
    logger.error(message)
    raise kind(message)


def end_of(step: str, status: int) -> Mapping[str, str]:
    """Say how a step ended that could not say it itself: what, where, and what to do (fix)."""
    if _signal(status) == signal.SIGTERM:
        fix = "nothing if its worker was stopped: it may be tried again, and a training goes on from where it was"
        return told(_killed(step, signal.SIGTERM), "its worker, a person, or its time limit", fix)
    if _signal(status) == signal.SIGALRM:
        fix = "it may be tried again; let the machines that train together reach each other's addresses"
        return told(_killed(step, signal.SIGALRM), "train.machines, train.workers and train.wait_minutes", fix)
    if _signal(status):
        return told(
            _killed(step, _signal(status)),
            "the machine that it ran on",
            "it may be tried again; if it is killed again, give it more memory or smaller batches",
        )
    return told(f"step {step} stopped with status {status}", "its process", "see the log of its task")


def _killed(step: str, by: int) -> str:
    if by == signal.SIGALRM:
        return f"step {step} waited in vain for another machine to begin (signal {by})"
    if by == signal.SIGTERM:
        return f"step {step} was told to end (signal {by})"
    return f"step {step} was killed by signal {by}; 9 mostly means too little memory"


def told(what: str, where: str, fix: str) -> Mapping[str, str]:
    """Return an end in the words of an error."""
    return {"what": what, "where": where, "fix": fix}


def _signal(status: int) -> int:
    """Return the signal that killed a process, which a shell says in its own way; 0 if none did."""
    return -status if status < 0 else max(status - _OF_A_SHELL, 0)
