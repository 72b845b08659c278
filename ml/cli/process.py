"""The process of a command: its environment, its log, its output, and the signal that ends it."""

import argparse
import codecs
import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ml.errors import SincereError
from ml.json_log import JsonFormatter
from ml.registry.wandb.login import login_settings

JSON = "json"
NO_RUN = "none"
OF_A_SHELL = 128  # a shell's status for a program that a signal killed is this and the signal
_ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",  # tf-models' layers and hub.KerasLayer need Keras 2
    "TF_CPP_MIN_LOG_LEVEL": "3",  # errors reach Python as exceptions; the log only reports absent GPUs
    "GX_ANALYTICS_ENABLED": "false",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
}
_PLAIN = {"✓": "+", "✗": "x", "…": "...", "·": "-"}

logger = logging.getLogger(__name__)


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


def prepare_process() -> None:
    """Set what libraries read when they are imported."""
    os.environ.update(login_settings(os.environ))
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # tensorflow-hub 0.16.1


def start_log(arguments: argparse.Namespace) -> None:
    """Log to standard error, as text or as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    if arguments.log_format == JSON:
        run_id = str(getattr(arguments, "run_id", NO_RUN))
        handler.setFormatter(JsonFormatter(command=arguments.command, run_id=run_id))
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("ml").setLevel(logging.INFO)


def print_anywhere() -> None:
    """Where the output's encoding lacks a mark, a plain one is printed."""
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(mark, "?") for mark in error.object[error.start : error.end]), error.end


def tell_error(error: SincereError, arguments: argparse.Namespace) -> None:
    """Say what is wrong in the form of the log."""
    if arguments.log_format == JSON:
        logger.error("error: %s", error)
    else:
        print(f"error: {error}", file=sys.stderr)


@contextmanager
def told_to_end() -> Iterator[None]:
    """Let SIGTERM, which systemd and containers send, interrupt the run, so that it leaves a verdict."""

    def end(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
