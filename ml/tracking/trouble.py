"""How trouble with W&B is told: in one line, without what others' errors say of this machine."""

import logging

_LONGEST_REASON = 200

logger = logging.getLogger(__name__)


def warn(consequence: str, error: Exception) -> None:
    """The step goes on."""
    logger.warning("W&B: %s (%s)", consequence, reason(error))


def reason(error: Exception) -> str:
    """The kind of error, and what W&B's own errors say: others may name folders."""
    said = str(error).partition("\n")[0][:_LONGEST_REASON]
    return f"{type(error).__name__}: {said}" if type(error).__module__.startswith("wandb.") else type(error).__name__
