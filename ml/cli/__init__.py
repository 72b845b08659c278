"""The command line: it runs one step or all steps, and has the commands with which people use the result.

Results go to standard output, everything else to standard error.
"""

import argparse
import logging
import os
import secrets
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from ml.cli.parser import build_parser
from ml.cli.process import NO_RUN, OF_A_SHELL, Terminated, prepare_process, print_anywhere, start_log, tell_error
from ml.cli.surroundings import check_places, current_mirror, home_or_here
from ml.errors import SincereError, foreseen

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or the exit status of its error (see ml/errors.py)."""
    print_anywhere()
    arguments = build_parser().parse_args(argv)
    _name_run(arguments)
    prepare_process()
    start_log(arguments)
    try:
        return _run_command(arguments)
    except BrokenPipeError:  # who read the output has gone; nor is there anybody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OF_A_SHELL + signal.SIGPIPE
    except KeyboardInterrupt as error:
        print("interrupted", file=sys.stderr)
        return OF_A_SHELL + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)


def _run_command(arguments: argparse.Namespace) -> int:
    try:
        check_places(arguments)
        with _sharing_reports():
            arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except Exception as error:
        ours = next(foreseen(error, home_or_here()), None)
        if ours is None:
            raise
        tell_error(ours, arguments)
        return ours.exit_status
    return 0


@contextmanager
def _sharing_reports() -> Iterator[None]:
    """Send at the end what was written to the reports; what ended in an error tells of that one alone."""
    mirror = current_mirror()
    try:
        yield
    except BaseException:
        try:
            mirror.send()
        except SincereError as error:
            logger.warning("reports are on this machine alone: %s", error.what)
        raise
    mirror.send()


def _name_run(arguments: argparse.Namespace) -> None:
    """Give a run that was not given a name the time, and a random part."""
    if getattr(arguments, "run_id", NO_RUN) is None:
        arguments.run_id = f"{datetime.now(UTC):cli-%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
