"""Options that several commands have, and what their values may be."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path

_BY_HAND = "command line"
_FORCE_HELP = "go on even if nothing has changed, during the cool-down, or with a version that was rolled back"
_INPUT_HELP = "a record that an earlier step wrote; repeat the option for each record"
OUTPUT_HELP = "where the record goes; else printed"


def add_step_arguments(command: argparse.ArgumentParser) -> None:
    """Add settings, run, and the records that a step takes and gives."""
    add_run_arguments(command)
    command.add_argument("--input", type=Path, action="append", default=[], metavar="RECORD.json", help=_INPUT_HELP)
    command.add_argument("--output", type=writable, metavar="RECORD.json", help=OUTPUT_HELP)


def add_run_arguments(command: argparse.ArgumentParser) -> None:
    """Add settings, source, and how a run is meant."""
    add_settings_arguments(command)
    command.add_argument("--source", metavar="URI", help="the CSV: short for --set source.uri=URI")
    command.add_argument("--no-sample", action="store_true", help="an error instead of the generated sample")
    command.add_argument("--dry-run", action="store_true", help="up to the verdict; write nothing to the registry")
    command.add_argument("--force", action="store_true", help=_FORCE_HELP)
    add_run_identity(command)


def add_settings_arguments(command: argparse.ArgumentParser) -> None:
    """Add `--config` and `--set`."""
    command.add_argument("--config", default="local", metavar="PRESET|FILE.toml", help="default: local")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one setting")


def add_run_identity(command: argparse.ArgumentParser) -> None:
    """Add which run it is, who started it, and who is told."""
    command.add_argument("--run-id", metavar="ID", help="names the run in history and reports; default: the time")
    command.add_argument("--triggered-by", default=_BY_HAND, metavar="WHO", help=f"who started it; default: {_BY_HAND}")
    command.add_argument("--run-url", default="none", metavar="URL", help="the page of the run; default: none")
    command.add_argument("--notices", type=writable, metavar="FILE", help="where goes what people should be told")


def whole(most: int) -> Callable[[str], int]:
    """Reads a whole number up to `most`, and repeats no long one."""

    def number(text: str) -> int:
        if not re.fullmatch("-?[0-9]{1,15}", text) or int(text) > most:
            raise argparse.ArgumentTypeError(f"not a whole number of at most {most:,}: {text[:20]}")
        return int(text)

    return number


def readable(name: str) -> Path:
    """Return the path; `-` is standard input."""
    return Path("/dev/stdin" if name == "-" else name)


def writable(name: str) -> Path:
    """Return the path; `-` is standard output."""
    return Path("/dev/stdout" if name == "-" else name)


def utf8(text: str) -> str:
    """Return the text; raises ArgumentTypeError for bytes that are not UTF-8, which Python turns into surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("the text is not UTF-8") from None
    return text
