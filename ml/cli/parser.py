"""The parser of the command line: all commands, each from the file that carries it out."""

import argparse
import os
import sys
from pathlib import Path

from ml import __version__
from ml.cli import keeping, registry, research, results, run_steps
from ml.cli.process import JSON

_LOG_FORMAT_HELP = "json: each line of the log is an object with the run's id; default: SINCERE_LOG_FORMAT, else text"


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; the function that carries a command out is its argument `run`."""
    prog = "sincere" if Path(sys.argv[0]).stem == "sincere" else "python -m ml"
    parser = _Parser(prog=prog, description="Retrain, judge and promote, step by step.")
    parser.add_argument("--version", action="version", version=f"sincere {__version__}")
    told = "json" if os.environ.get("SINCERE_LOG_FORMAT") == JSON else "text"
    parser.add_argument("--log-format", choices=("text", JSON), default=told, help=_LOG_FORMAT_HELP)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for room in (run_steps, results, registry, keeping, research):
        room.add_commands(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser whose help lists all settings if its command has the option `--set`."""

    def format_help(self) -> str:
        from ml.config.settings_reference import help_lines

        told = self.get_default("set") is not None
        return super().format_help() + (f"\nsettings, with their defaults:\n{help_lines()}\n" if told else "")
